import { randomUUID } from "node:crypto";
import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { type Pool, planFor, transactionOfOne } from "../../src/db.ts";
import { acceptEntities } from "../../src/intake.ts";
import { endRuns, type RunEnd } from "../../src/ledger/end.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { definePipeline, Entity, noUsage, type Pipeline } from "../../src/pipeline.ts";
import type { Attempt } from "../../src/worker/attempt.ts";
import type { Context } from "../../src/worker/context.ts";
import { answering, Gatherer } from "../../src/worker/gatherer.ts";
import { Worker } from "../../src/worker/worker.ts";
import { contextOf } from "../context.ts";
import { beginnings, type Contender, idleMs, page } from "./contender.ts";

const [slots, most] = [4_000, 500];

/** An attempt without a graph: it is claimed under a lease, and ended under it, in groups. */
export function nothing(pool: Pool): Attempt {
  const endings = new Gatherer<RunEnd, boolean>({
    most,
    flights: 2,
    work: answering(async (ends) => {
      const begin = `begin; ${planFor(ends.length)}`;
      const held = await transactionOfOne(pool, (db) => endRuns(db, ends), begin);
      return ends.map(({ lease }) => held.has(lease.lease_token));
    }),
  });
  return async (_, lease) => {
    const held = await endings.do({ status: "success", outcome: "completed", lease, usage: noUsage });
    return { ending: held ? { kind: "delivered", events: 0 } : { kind: "lost" } };
  };
}

async function enqueueNothing(pool: Pool, count: number): Promise<void> {
  const tenant_id = randomUUID();
  for (let made = 0; made < count; made += page) {
    const runs = Array.from({ length: Math.min(page, count - made) }, () => ({
      ...({ tenant_id, source_type: "scene", source_id: randomUUID(), source_version: 1 } as const),
      ...{ pipeline: "nothing", priority: 0, max_attempts: 5 },
    }));
    await enqueueRuns(pool, runs);
  }
}

const parts = {
  job: "loregraph",
  graph: "loregraph, to the start of the graph",
  node: "loregraph, to the start of its first node",
};

/**
 * How long a worker with free slots takes to begin a job, how long to have read what a run is about, noted that it starts
 * and begin to make its graph, and how long until LangGraph has begun the first node of that.
 */
export function loregraph(pool: Pool, url: string, part: keyof typeof parts): Contender {
  const begun = beginnings();
  const context = contextOf(pool, [telling(part, begun.note)]);
  return {
    name: parts[part],
    onlyWaits: part !== "job",
    settings: `${slots} slots, endings in groups of up to ${most}, two at a time`,
    enqueue: (count) => enqueueNothing(pool, count),
    async burnDown(count) {
      let left = count;
      const done = Promise.withResolvers<void>();
      const onEnded = () => void (--left === 0 && done.resolve());
      const options = { url, pipelines: ["nothing"], concurrency: slots, attempt: nothing(pool), onEnded };
      const worker = new Worker(context, options);
      worker.start();
      await done.promise;
      await worker.stop();
    },
    async wait(times) {
      const counted: Attempt = (...given) => {
        begun.note();
        return nothing(pool)(...given);
      };
      const worker = new Worker(context, { url, ...(part === "job" ? { attempt: counted } : {}) });
      worker.start();
      const waits: number[] = [];
      for (let nth = 0; nth < times; nth++) {
        await worker.untilIdle();
        await new Promise((resolve) => setTimeout(resolve, idleMs));
        waits.push(await begun.waitOf(() => take(context)));
      }
      await worker.stop();
      return waits;
    },
    async forget() {
      await pool.query(
        "truncate pipeline_runs, events, entities, checkpoints, checkpoint_blobs, checkpoint_writes cascade",
      );
    },
    end: async () => {},
  };
}

const Answer = z.object({ done: z.boolean() });

/** A graph of one node that tells when it, or its node, begins. */
function telling(part: keyof typeof parts, onBegun: () => void): Pipeline {
  return definePipeline({
    name: "nothing",
    version: 1,
    local: "nothing",
    trigger: { on: "entity.changed" },
    output: Answer,
    graph: () => {
      if (part === "graph") onBegun();
      return new StateGraph({ state: Entity.extend(Answer.shape), input: Entity, output: Answer })
        .addNode(
          "only",
          () => {
            if (part === "node") onBegun();
            return { done: true };
          },
          { input: Entity },
        )
        .addEdge(START, "only")
        .addEdge("only", END);
    },
  });
}

async function take({ pool, registry }: Context): Promise<void> {
  const scene = { source_type: "scene", title: "A scene", text: "A lamp.", metadata: {} } as const;
  const entities = [{ ...scene, source_id: randomUUID() }];
  await acceptEntities(pool, registry, { tenant_id: randomUUID(), source: "bench", entities });
}
