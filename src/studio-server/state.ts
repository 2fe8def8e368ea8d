import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import { LoregraphError } from "../errors.ts";
import type { Pipeline } from "../pipeline.ts";
import { ledgerState } from "./ledger-state.ts";
import { graphToLookAt } from "./look.ts";
import type { StudioServices } from "./services.ts";
import type { Thread } from "./thread.ts";
import { type WireState, wireCheckpoint, wireState, wireValue } from "./wire.ts";

/** A place in a thread as clients name it; without a checkpoint's id, the newest. */
export type Place = {
  /** Where it names another thread than the one that is asked for, as it does after a fork. */
  readonly thread_id?: string | undefined;
  readonly checkpoint_ns?: string | undefined;
  readonly checkpoint_id?: string | undefined;
  readonly checkpoint_map?: Readonly<Record<string, string>> | undefined;
};

/** The state at a place. Throws CHECKPOINT_UNKNOWN where a checkpoint is named that is not there. */
export async function readState(
  services: StudioServices,
  thread: Thread,
  place: Place = {},
  subgraphs = false,
): Promise<WireState> {
  const state = await stateAt(services, thread, place, subgraphs);
  if (place.checkpoint_id !== undefined && state === undefined)
    throw checkpointUnknown(thread, place.checkpoint_id);
  return state === undefined || endIsMissing(thread, place, state)
    ? await ledgerState(services.reads, thread, state?.checkpoint)
    : state;
}

/** A run's last steps are not saved where its own commit makes that superfluous: then only the ledger knows its end. */
function endIsMissing({ run, fork }: Thread, place: Place, { next, tasks }: WireState): boolean {
  const newest = place.checkpoint_id === undefined && (place.checkpoint_ns ?? "") === "";
  return newest && fork === undefined && run.status === "success" && next.length + tasks.length > 0;
}

async function stateAt(
  services: StudioServices,
  thread: Thread,
  place: Place,
  subgraphs: boolean,
): Promise<WireState | undefined> {
  const config = configAt(thread, place);
  const pipeline = readableBy(thread);
  if (pipeline === undefined) {
    const tuple = await services.saver.getTuple(config);
    return tuple && rawState(thread, tuple);
  }
  const snapshot = await graphToLookAt(services, pipeline, thread.run.model).getState(config, { subgraphs });
  return snapshot.createdAt === undefined ? undefined : wireState(snapshot);
}

export type HistoryAsked = {
  readonly limit: number;
  readonly before?: Place | undefined;
  /** What the metadata of a state must contain. */
  readonly filter?: Readonly<Record<string, unknown>> | undefined;
};

/** States, newest first; where no checkpoint was kept, the one that the ledger knows. */
export async function readHistory(
  services: StudioServices,
  thread: Thread,
  place: Place,
  asked: HistoryAsked,
): Promise<readonly WireState[]> {
  const states: WireState[] = [];
  for await (const state of history(services, thread, place, asked)) states.push(state);
  if (asked.before !== undefined || asked.filter !== undefined) return states;
  const [newest] = states;
  if (newest && !endIsMissing(thread, place, newest)) return states;
  return [await ledgerState(services.reads, thread, newest?.checkpoint), ...states].slice(0, asked.limit);
}

async function* history(
  services: StudioServices,
  thread: Thread,
  place: Place,
  { limit, before, filter }: HistoryAsked,
): AsyncGenerator<WireState> {
  const config = configAt(thread, place);
  const options = {
    limit,
    ...(before === undefined ? {} : { before: configAt(thread, before) }),
    ...(filter === undefined ? {} : { filter }),
  };
  const pipeline = readableBy(thread);
  if (pipeline === undefined) {
    for await (const tuple of services.saver.list(config, options)) yield rawState(thread, tuple);
    return;
  }
  const graph = graphToLookAt(services, pipeline, thread.run.model);
  for await (const snapshot of graph.getStateHistory(config, options)) yield wireState(snapshot);
}

export function configAt(
  { thread_id }: Pick<Thread, "thread_id">,
  { checkpoint_ns = "", thread_id: _, ...place }: Place,
) {
  const named = Object.entries(place).filter(([, value]) => value !== undefined);
  return { configurable: { thread_id, checkpoint_ns, ...Object.fromEntries(named) } };
}

/** The pipeline whose graph wrote the thread, or undefined where it is another one by now, and would misread it. */
function readableBy({ run, pipeline }: Thread): Pipeline | undefined {
  return run.pipeline_version === null || run.pipeline_version === pipeline?.version ? pipeline : undefined;
}

/** What was stored, as it is: which nodes come next, only the graph that wrote it could tell. */
function rawState({ run, pipeline }: Thread, tuple: CheckpointTuple): WireState {
  const now = pipeline === undefined ? "gone" : `at version ${pipeline.version}`;
  const note = `version ${run.pipeline_version} of ${run.pipeline} wrote this, which is ${now}: its values are shown, its tasks are not known`;
  const values = Object.entries(tuple.checkpoint.channel_values).filter(([channel]) => !isInner(channel));
  return {
    values: wireValue(Object.fromEntries(values)),
    next: [],
    tasks: [],
    metadata: { ...tuple.metadata, note },
    created_at: tuple.checkpoint.ts,
    checkpoint: wireCheckpoint(tuple.config),
    parent_checkpoint: wireCheckpoint(tuple.parentConfig),
  };
}

function isInner(channel: string): boolean {
  return channel.startsWith("__") || channel.startsWith("branch:");
}

function checkpointUnknown({ thread_id }: Pick<Thread, "thread_id">, id: string): LoregraphError {
  return new LoregraphError(
    "CHECKPOINT_UNKNOWN",
    `thread ${thread_id} has no checkpoint ${id.slice(0, 100)}: there was none, or it was deleted`,
  );
}
