import { Readable } from "node:stream";
import { Command } from "@langchain/langgraph";
import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import { dropFork, type Fork } from "../forks/fork.ts";
import { type ForkContext, makeFork } from "../forks/make.ts";
import { openFork } from "../forks/open.ts";
import type { App } from "../http/services.ts";
import { assistantIdOf } from "./assistants.ts";
import { type ForkRequest, ForkRuns, type StreamMode, type WireEvent } from "./fork-runs.ts";
import { viewForkRun } from "./run-view.ts";
import type { StudioServices } from "./services.ts";
import { Checkpoint, OfThread, placeOf } from "./shapes.ts";
import { configAt, type Place, readState } from "./state.ts";
import { findThread, forkThread, type Thread } from "./thread.ts";
import { viewThread } from "./thread-view.ts";
import { wireCheckpoint } from "./wire.ts";

const Name = z.string().max(200);
const Names = z.union([z.literal("*"), z.array(Name).max(100)]).nullish();

const Update = z.looseObject({
  values: z.unknown().optional(),
  checkpoint: Checkpoint.nullish(),
  checkpoint_id: Name.nullish(),
  as_node: Name.nullish(),
});

/** The modes that clients ask for, and those of ours; two older ones are of chats, and stay silent. */
const streamed = {
  values: ["values"],
  updates: ["updates"],
  debug: ["debug"],
  "messages-tuple": ["messages"],
  checkpoints: ["checkpoints"],
  tasks: ["tasks"],
  custom: ["custom"],
  messages: [],
  events: [],
} as const satisfies Record<string, readonly StreamMode[]>;
const Mode = z.enum(Object.keys(streamed) as (keyof typeof streamed)[]);

const RunRequest = z.looseObject({
  assistant_id: Name,
  input: z.unknown().optional(),
  command: z
    .looseObject({
      resume: z.unknown().optional(),
      update: z.record(z.string(), z.unknown()).nullish(),
      goto: z.union([Name, z.array(Name).max(100)]).nullish(),
    })
    .nullish(),
  checkpoint: Checkpoint.nullish(),
  checkpoint_id: Name.nullish(),
  stream_mode: z.union([Mode, z.array(Mode).max(10)]).nullish(),
  stream_subgraphs: z.boolean().nullish(),
  interrupt_before: Names,
  interrupt_after: Names,
  on_disconnect: z.enum(["cancel", "continue"]).nullish(),
});
type RunRequest = z.infer<typeof RunRequest>;

const OfRun = OfThread.extend({ run_id: z.guid() });

/**
 * Forks: editing a run's state, or going on from it, makes a thread of its own and leaves the run as it is. Whoever asks
 * for something of a run is told the fork's thread in its answer.
 */
export function forkRoutes(app: App, services: StudioServices, context: ForkContext, by: string): ForkRuns {
  const runs = new ForkRuns(context);
  const find = (thread_id: string) => findThread(services, thread_id);

  app.post(
    "/threads/:thread_id/copy",
    { schema: { params: OfThread } },
    async ({ params: { thread_id } }) => {
      const thread = await find(thread_id);
      if (thread.fork) throw inputInvalid("a fork is not forked again: fork its run, or go on in the fork");
      const fork = forkThread(services, thread.run, await makeFork(context, thread.run, { by }));
      return viewThread(fork, await readState(services, fork));
    },
  );

  app.post(
    "/threads/:thread_id/state",
    { schema: { params: OfThread, body: Update } },
    async ({ params: { thread_id }, body }) => {
      const thread = await find(thread_id);
      const place = placeOf(body);
      const fork = await forkAt(thread, place);
      const { graph } = await openFork(context, fork);
      const config = configAt({ thread_id: fork.id }, place);
      try {
        const at = await graph.updateState(config, body.values, body.as_node ?? undefined);
        return { checkpoint: wireCheckpoint(at), configurable: at.configurable };
      } catch (cause) {
        if (!thread.fork) await dropFork(context.pool, fork);
        throw inputInvalid(
          `the state cannot be edited so: ${cause instanceof Error ? cause.message : cause}`,
          cause,
        );
      }
    },
  );

  app.post(
    "/threads/:thread_id/runs/stream",
    { schema: { params: OfThread, body: RunRequest } },
    async ({ params: { thread_id }, body }, reply) => {
      const { run, events } = await begin(thread_id, body);
      reply.headers({
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-store",
        "content-location": `/threads/${run.fork.id}/runs/${run.run_id}`,
        connection: "close",
      });
      const stream = Readable.from(written(events), { objectMode: false });
      if (body.on_disconnect !== "continue")
        stream.once("close", () => run.stop.abort(new Error("its client went")));
      return reply.send(stream);
    },
  );

  app.post(
    "/threads/:thread_id/runs/wait",
    { schema: { params: OfThread, body: RunRequest } },
    async ({ params: { thread_id }, body }, reply) => {
      const { run, events } = await begin(thread_id, body);
      reply.header("content-location", `/threads/${run.fork.id}/runs/${run.run_id}`);
      const error = await drained(events);
      return error === undefined ? (run.values ?? {}) : { __error__: error };
    },
  );

  app.post(
    "/threads/:thread_id/runs",
    { schema: { params: OfThread, body: RunRequest } },
    async ({ params: { thread_id }, body }, reply) => {
      const { run, events } = await begin(thread_id, body);
      void drained(events).catch(() => {});
      reply.header("content-location", `/threads/${run.fork.id}/runs/${run.run_id}`);
      return viewForkRun(run);
    },
  );

  app.get("/threads/:thread_id/runs/:run_id/join", { schema: { params: OfRun } }, async ({ params }) => {
    const run = runs.find(params.thread_id, params.run_id);
    await run.ended;
    return run.values ?? {};
  });

  app.post(
    "/threads/:thread_id/runs/:run_id/cancel",
    { schema: { params: OfRun } },
    async ({ params }, reply) => {
      const run = runs.find(params.thread_id, params.run_id);
      run.stop.abort(new Error("cancelled on request"));
      return reply.code(202).send();
    },
  );

  app.addHook("preClose", () => runs.stopAll());
  return runs;

  /** The fork that is meant: the thread itself, one that the place names, or a new one of the run. */
  async function forkAt(
    thread: Thread,
    place: Place & { readonly thread_id?: string | undefined },
  ): Promise<Fork> {
    if (thread.fork) return thread.fork;
    if (place.thread_id !== undefined && place.thread_id !== thread.thread_id) {
      const named = await find(place.thread_id);
      if (named.fork?.run_id === thread.run.id) return named.fork;
      throw inputInvalid(`expected a checkpoint of run ${thread.run.id}, or of one of its forks`);
    }
    const checkpoint_id = place.checkpoint_map?.[""] ?? place.checkpoint_id;
    return await makeFork(context, thread.run, { checkpoint_id, by });
  }

  async function begin(thread_id: string, body: RunRequest) {
    const thread = await find(thread_id);
    const { pipeline } = thread.run;
    if (body.assistant_id !== pipeline && body.assistant_id !== assistantIdOf(pipeline))
      throw inputInvalid(`expected the assistant of this thread, ${pipeline}, got: ${body.assistant_id}`);
    const place = placeOf(body);
    const fork = await forkAt(thread, place);
    return await runs.begin(fork, requestOf(fork, place, body));
  }
}

function requestOf(fork: Fork, place: Place, body: RunRequest): ForkRequest {
  return {
    input: body.command ? commandOf(body.command) : (body.input ?? null),
    config: configAt({ thread_id: fork.id }, place),
    modes: [body.stream_mode ?? "values"].flat().flatMap((mode) => streamed[mode]),
    subgraphs: body.stream_subgraphs ?? false,
    interruptBefore: body.interrupt_before ?? [],
    interruptAfter: body.interrupt_after ?? [],
  };
}

function commandOf({ resume, update, goto }: NonNullable<RunRequest["command"]>): Command {
  return new Command({
    ...(resume === undefined ? {} : { resume }),
    ...(update ? { update } : {}),
    ...(goto ? { goto } : {}),
  });
}

async function* written(events: AsyncGenerator<WireEvent>): AsyncGenerator<string> {
  for await (const { event, data } of events)
    yield `event: ${event.replace(/[\r\n]/g, " ")}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** Takes a run to its end. Answers the error that ended it, where one did. */
async function drained(events: AsyncGenerator<WireEvent>): Promise<unknown> {
  let error: unknown;
  for await (const { event, data } of events) if (event === "error") error = data;
  return error;
}

function inputInvalid(message: string, cause?: unknown): LoregraphError {
  return new LoregraphError("INPUT_INVALID", message, { cause });
}
