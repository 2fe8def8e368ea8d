import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { Worker as Thread } from "node:worker_threads";
import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import type { Pool } from "../src/db.ts";
import { openModels } from "../src/models/models.ts";
import { definePipeline, Entity, type Tools } from "../src/pipeline.ts";
import { Worker } from "../src/worker/worker.ts";
import { contextOf } from "./context.ts";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";
import { takeInScenes } from "./worker.ts";

const slots = 100;
const [quick, slow, oneIn] = [500, 5_000, 20];
const [warmUpMs, windowMs] = [6_000, 20_000];

const Answer = z.object({ waited: z.number() });

/** How much of their time slots spend with the model, while there is always more to do: the rest is the runtime's. */
export async function bench({ rounds, only }: BenchOptions) {
  const kinds = (["http", "timer"] as const).filter((kind) => !only || only.split(",").includes(kind));
  const thread = new Thread(new URL("slots/model.ts", import.meta.url));
  const [address] = (await once(thread, "message")) as [AddressInfo];
  const shares = new Map(kinds.map((kind) => [kind, [] as Measured[]]));
  const postgres = await withDatabase(async ({ pool, url, postgres }) => {
    for (let round = 0; round < rounds; round++) {
      for (const kind of kinds) shares.get(kind)?.push(await measure(pool, url, kind, address.port));
    }
    return postgres;
  });
  await thread.terminate();
  return {
    bench: "slots",
    what: `${slots} slots, a model that answers after ${quick} ms and, one call in ${oneIn}, after ${slow} ms; ${windowMs} ms after ${warmUpMs} ms of warming up, ${rounds} rounds, interleaved; http: through the chat model and a server on loopback, timer: a timer in the node`,
    machine: machine(),
    postgres,
    ...Object.fromEntries([...shares].map(([kind, measured]) => [kind, summary(measured)])),
  };
}

type Measured = { readonly ended: number; readonly waitedMs: number; readonly cpuMs: number };

function summary(measured: readonly Measured[]) {
  return {
    share_of_ideal: spread(measured.map(({ waitedMs }) => waitedMs / (slots * windowMs))),
    runs_per_second: spread(measured.map(({ ended }) => ended / (windowMs / 1_000))),
    cpu_ms_per_run: spread(measured.map(({ ended, cpuMs }) => cpuMs / ended)),
  };
}

/** Time with the model is counted where it falls into the window, whenever its run began or ended. */
async function measure(pool: Pool, url: string, kind: "http" | "timer", port: number): Promise<Measured> {
  const busy = new Busy();
  const context = waitingContext(pool, kind, port, busy);
  // More than the slots can do in the time.
  const runs = (slots * (warmUpMs + windowMs)) / quick;
  await takeInScenes(pool, context.registry, runs, "A lamp, a gull, a rope, a bell.");
  let ended = 0;
  const worker = new Worker(context, { url, concurrency: slots, drainMs: 0, onEnded: () => void ended++ });
  worker.start();
  await delay(warmUpMs);
  const before = { ended, waited: busy.total(), cpu: process.cpuUsage() };
  await delay(windowMs);
  const used = process.cpuUsage(before.cpu);
  const measured = {
    ended: ended - before.ended,
    waitedMs: busy.total() - before.waited,
    cpuMs: (used.user + used.system) / 1_000,
  };
  await worker.stop();
  await pool.query(
    "truncate pipeline_runs, entities, events, checkpoints, checkpoint_blobs, checkpoint_writes cascade",
  );
  return measured;
}

/** Adds up how long the model let itself be waited for, those waits included that go on; not what the runtime adds to it. */
class Busy {
  #ended = 0;
  readonly #going = new Set<{ readonly begun: number; readonly ms: number }>();

  async during(ms: number, work: () => Promise<unknown>): Promise<void> {
    const wait = { begun: performance.now(), ms };
    this.#going.add(wait);
    await work();
    this.#going.delete(wait);
    this.#ended += ms;
  }

  total(): number {
    const now = performance.now();
    return [...this.#going].reduce((sum, { begun, ms }) => sum + Math.min(ms, now - begun), this.#ended);
  }
}

function waitingContext(pool: Pool, kind: "http" | "timer", port: number, busy: Busy) {
  let calls = 0;
  const wait = async ({ model }: Tools) => {
    const ms = ++calls % oneIn === 0 ? slow : quick;
    await busy.during(ms, async () =>
      kind === "timer" ? await delay(ms) : await model?.invoke(`wait ${ms}`),
    );
    return { waited: ms };
  };
  const pipeline = definePipeline({
    name: "wait",
    version: 1,
    local: "wait",
    trigger: { on: "entity.changed" },
    output: Answer,
    graph: (tools) =>
      new StateGraph({ state: Entity.extend(Answer.shape), input: Entity, output: Answer })
        .addNode("wait", () => wait(tools), { input: Entity })
        .addEdge(START, "wait")
        .addEdge("wait", END),
  });
  const models = openModels({
    ...{
      apiKey: "unused",
      baseUrl: `http://127.0.0.1:${port}/v1`,
      chatModel: "double",
      embeddingModel: "none",
    },
    ...{ timeoutMs: 30_000, prices: undefined },
  });
  return contextOf(pool, [pipeline], models);
}
