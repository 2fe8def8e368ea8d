import { randomUUID } from "node:crypto";
import type { Command } from "@langchain/langgraph";
import { LoregraphError, loregraphError, messageOf } from "../errors.ts";
import { type Fork, noteUse } from "../forks/fork.ts";
import type { ForkContext } from "../forks/make.ts";
import { openFork } from "../forks/open.ts";
import type { ForkRun } from "./run-view.ts";
import { wireCheckpoint, wireValue } from "./wire.ts";

/** What a run of a fork is asked to do. */
export type ForkRequest = {
  /** What the graph is given; null goes on from where the thread stands. */
  readonly input: unknown;
  readonly config: { readonly configurable: Readonly<Record<string, unknown>> };
  readonly modes: readonly StreamMode[];
  readonly subgraphs: boolean;
  readonly interruptBefore: "*" | readonly string[];
  readonly interruptAfter: "*" | readonly string[];
};

export type StreamMode = "values" | "updates" | "debug" | "messages" | "checkpoints" | "tasks" | "custom";

export type WireEvent = { readonly event: string; readonly data: unknown };

type Running = { -readonly [Part in keyof ForkRun]: ForkRun[Part] } & {
  /** The last values that its graph showed. */
  values: unknown;
  readonly stop: AbortController;
  readonly ended: Promise<void>;
};

/** How many graphs run at a time: a person looks at one. */
const most = 4;

/** How many runs that have ended are remembered. */
const mostKept = 100;

/** The runs of forks in this process. They are nobody else's affair, and are forgotten with it. */
export class ForkRuns {
  readonly #context: ForkContext;
  readonly #runs = new Map<string, Running>();

  constructor(context: ForkContext) {
    this.#context = context;
  }

  of(fork_id: string): readonly Running[] {
    return [...this.#runs.values()].filter(({ fork }) => fork.id === fork_id).toReversed();
  }

  /** Throws NOT_FOUND. */
  find(fork_id: string, run_id: string): Running {
    const run = this.#runs.get(run_id);
    if (run?.fork.id === fork_id) return run;
    throw new LoregraphError("NOT_FOUND", `thread ${fork_id} has no run ${run_id}`);
  }

  isRunning(fork_id: string): boolean {
    return this.#running().some(({ fork }) => fork.id === fork_id);
  }

  /**
   * Begins a run. Whoever asks for it must take its events to the end, or break off, which stops it. Throws TOO_MANY_REQUESTS
   * and STATE_TRANSITION where there is no room, and what opening the fork throws.
   */
  async begin(
    fork: Fork,
    request: ForkRequest,
  ): Promise<{ run: Running; events: AsyncGenerator<WireEvent> }> {
    this.#assertRoom(fork);
    const done = Promise.withResolvers<void>();
    const now = new Date();
    const run: Running = {
      run_id: randomUUID(),
      fork,
      created_at: now,
      updated_at: now,
      status: "running",
      values: undefined,
      stop: new AbortController(),
      ended: done.promise,
    };
    this.#remember(run);
    try {
      const opened = await openFork(this.#context, fork);
      return { run, events: this.#events(run, request, opened, done.resolve) };
    } catch (error) {
      this.#runs.delete(run.run_id);
      throw error;
    }
  }

  /** Stops all that runs, and waits for its end. */
  async stopAll(): Promise<void> {
    const running = this.#running();
    for (const { stop } of running) stop.abort(new Error("the server is stopping"));
    await Promise.all(running.map(({ ended }) => ended));
  }

  async *#events(
    run: Running,
    request: ForkRequest,
    { graph, pipeline, usage }: Awaited<ReturnType<typeof openFork>>,
    done: () => void,
  ): AsyncGenerator<WireEvent> {
    const late = new LoregraphError("ATTEMPT_TIMEOUT", "the graph did not end within its pipeline's timeout");
    const timer = setTimeout(() => run.stop.abort(late), pipeline.timeout);
    try {
      yield { event: "metadata", data: { run_id: run.run_id, thread_id: run.fork.id, attempt: 1 } };
      yield* this.#stream(run, request, graph);
      if (run.status === "running") run.status = "success";
    } catch (error) {
      run.status = run.stop.signal.aborted ? "interrupted" : "error";
      yield { event: "error", data: errorOf(run.stop.signal.aborted ? run.stop.signal.reason : error) };
    } finally {
      clearTimeout(timer);
      if (run.status === "running") run.status = "interrupted";
      run.stop.abort();
      run.updated_at = new Date();
      await noteUse(this.#context.pool, run.fork, usage(), pipeline.checkpoints.keepHours).finally(done);
    }
  }

  async *#stream(
    run: Running,
    { input, config, modes, subgraphs, interruptBefore, interruptAfter }: ForkRequest,
    graph: Awaited<ReturnType<typeof openFork>>["graph"],
  ): AsyncGenerator<WireEvent> {
    const chunks = await graph.stream(input as Command, {
      ...config,
      streamMode: [...new Set<StreamMode>([...modes, "values"])],
      subgraphs: true,
      interruptBefore: namesOf(interruptBefore),
      interruptAfter: namesOf(interruptAfter),
      durability: "sync",
      recursionLimit: 1_000,
      signal: run.stop.signal,
    });
    for await (const [namespace, mode, chunk] of chunks as AsyncIterable<[string[], StreamMode, unknown]>) {
      const isInner = namespace.length > 0;
      if (mode === "values" && !isInner) this.#note(run, chunk);
      if (!modes.includes(mode) || (isInner && !subgraphs)) continue;
      yield { event: isInner ? `${mode}|${namespace.join("|")}` : mode, data: wireChunk(mode, chunk) };
    }
  }

  /** Where it stops for somebody, the graph shows its questions, and not its values again. */
  #note(run: Running, shown: unknown): void {
    if (!isRecord(shown)) return;
    const { __interrupt__: questions, ...values } = shown;
    if (questions !== undefined) run.status = "interrupted";
    const asked = Array.isArray(questions) && questions.length > 0 ? { __interrupt__: questions } : {};
    const known = isRecord(run.values) ? run.values : {};
    run.values = { ...(Object.keys(values).length > 0 ? (wireValue(values) as object) : known), ...asked };
  }

  #running(): readonly Running[] {
    return [...this.#runs.values()].filter(({ stop }) => !stop.signal.aborted);
  }

  #assertRoom({ id }: Fork): void {
    if (this.isRunning(id))
      throw new LoregraphError(
        "STATE_TRANSITION",
        `a run of the fork ${id} is under way: wait for it, or cancel it`,
      );
    if (this.#running().length < most) return;
    throw new LoregraphError("TOO_MANY_REQUESTS", `${most} runs of forks are under way`, {
      after: new Date(Date.now() + 5_000),
    });
  }

  #remember(run: Running): void {
    this.#runs.set(run.run_id, run);
    const ended = [...this.#runs.values()].filter(({ stop }) => stop.signal.aborted);
    for (const { run_id } of ended.slice(0, Math.max(0, ended.length - mostKept))) this.#runs.delete(run_id);
  }
}

function namesOf(names: "*" | readonly string[]): "*" | string[] {
  return names === "*" ? names : [...names];
}

/** What a client is told of an error; it is the fork's own, and never logged. */
function errorOf(error: unknown): { readonly error: string; readonly message: string } {
  const known = loregraphError(error);
  const name = known?.code ?? (error instanceof Error ? error.name : "Error");
  return { error: name, message: messageOf(error) };
}

/** Checkpoints are named as everywhere else, and what only this process needs is left out. */
function wireChunk(mode: StreamMode, chunk: unknown): unknown {
  if (mode === "checkpoints") return wireSaved(chunk);
  if (mode !== "debug" || !isRecord(chunk)) return wireValue(chunk);
  return {
    ...chunk,
    payload: chunk.type === "checkpoint" ? wireSaved(chunk.payload) : wireValue(chunk.payload),
  };
}

function wireSaved(saved: unknown): unknown {
  if (!isRecord(saved)) return saved;
  const { config, parentConfig, ...rest } = saved;
  const [at, before] = [config, parentConfig].map((each) => (isRecord(each) ? wireCheckpoint(each) : null));
  return {
    ...(wireValue(rest) as object),
    checkpoint: at,
    parent_checkpoint: before,
    config: { configurable: at },
    parent_config: before && { configurable: before },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
