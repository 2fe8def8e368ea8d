import { randomUUID } from "node:crypto";
import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import type { Pool } from "../src/db.ts";
import { acceptEntities } from "../src/intake.ts";
import { definePipeline, Entity } from "../src/pipeline.ts";
import type { Registry } from "../src/registry.ts";
import type { NewEntity } from "../src/store/entities.ts";
import type { Context } from "../src/worker/context.ts";
import { Worker } from "../src/worker/worker.ts";
import { contextOf } from "./context.ts";
import { type BenchOptions, machine, spread, withDatabase } from "./support.ts";

const runs = 1_000;
const concurrency = 16;
const longText = "A lamp, a gull, a rope, a bell. ".repeat(128);

const Answer = z.object({ a: z.int(), b: z.int(), c: z.int() });

/** Three nodes that call nothing, over 4 kB of text: what is left is the cost of running a graph. */
const nothing = definePipeline({
  name: "nothing",
  version: 1,
  local: "nothing",
  trigger: { on: "entity.changed" },
  output: Answer,
  graph: () =>
    new StateGraph({ state: Entity.extend(Answer.shape), input: Entity, output: Answer })
      .addNode("first", () => ({ a: 1 }), { input: Entity })
      .addNode("second", () => ({ b: 2 }), { input: Entity })
      .addNode("third", () => ({ c: 3 }), { input: Entity })
      .addEdge(START, "first")
      .addEdge("first", "second")
      .addEdge("second", "third")
      .addEdge("third", END),
});

/** A worker's own cost: the same graphs through queue, checkpoints and commit, and in a bare loop. */
export async function bench({ rounds }: BenchOptions) {
  return await withDatabase(async ({ pool, url, postgres }) => {
    const worker: number[] = [];
    const bare: number[] = [];
    await workerRound(pool, url, 100);
    for (let round = 0; round < rounds; round++) {
      bare.push(await bareRound(runs));
      worker.push(await workerRound(pool, url, runs));
    }
    const perSecond = { worker: spread(worker), bare: spread(bare) };
    return {
      bench: "worker",
      what: `runs per second of a graph of 3 nodes over ${longText.length} characters, ${runs} runs, ${concurrency} at a time, ${rounds} rounds, interleaved`,
      machine: machine(),
      postgres,
      runs_per_second: perSecond,
      ratio: Math.round((perSecond.worker.median / perSecond.bare.median) * 1_000) / 1_000,
      ms_per_run_beyond_the_graph:
        Math.round((1_000 / perSecond.worker.median - 1_000 / perSecond.bare.median) * 100) / 100,
    };
  });
}

/** The graph alone, compiled for each run as the worker does, without queue or checkpointer. */
async function bareRound(count: number): Promise<number> {
  const entities = scenes(count).map((scene) => ({ ...scene, tenant_id: randomUUID(), version: 1 }));
  const started = performance.now();
  const queue = entities.values();
  const slot = async () => {
    for (const entity of queue)
      await nothing
        .graph({} as never)
        .compile()
        .invoke(entity);
  };
  await Promise.all(Array.from({ length: concurrency }, slot));
  return count / ((performance.now() - started) / 1_000);
}

/** What a worker needs that runs this graph alone. */
export function graphContext(pool: Pool): Context {
  return contextOf(pool, [nothing]);
}

async function workerRound(pool: Pool, url: string, count: number): Promise<number> {
  const context = graphContext(pool);
  await acceptEntities(pool, context.registry, {
    tenant_id: randomUUID(),
    source: "bench",
    entities: scenes(count),
  });
  const worker = new Worker(context, { url, concurrency });
  const started = performance.now();
  worker.start();
  await worker.untilIdle();
  const seconds = (performance.now() - started) / 1_000;
  await worker.stop();
  return count / seconds;
}

/** Takes so many scenes of one tenant in, by the page. Their text defaults to 4 kB. */
export async function takeInScenes(
  pool: Pool,
  registry: Registry,
  count: number,
  text?: string,
): Promise<void> {
  const tenant_id = randomUUID();
  const entities = scenes(count, text);
  for (let made = 0; made < count; made += 500)
    await acceptEntities(pool, registry, {
      tenant_id,
      source: "bench",
      entities: entities.slice(made, made + 500),
    });
}

function scenes(count: number, text = longText): readonly NewEntity[] {
  return Array.from({ length: count }, (_, index) => ({
    source_type: "scene",
    source_id: randomUUID(),
    title: `Scene ${index}`,
    text,
    metadata: {},
  }));
}
