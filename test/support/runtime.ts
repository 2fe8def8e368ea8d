import { randomUUID } from "node:crypto";
import pino from "pino";
import { CheckpointWriter } from "../../checkpoints/writer.ts";
import { acceptEntities } from "../../src/intake.ts";
import { listRuns } from "../../src/ledger/read.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { openModels } from "../../src/models/models.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import type { Context } from "../../src/worker/context.ts";
import type { Ending } from "../../src/worker/ending.ts";
import { Worker, type WorkerOptions } from "../../src/worker/worker.ts";
import type { TestDatabase } from "./database.ts";
import { plainBase } from "./pipelines.ts";

const localModels = openModels({
  apiKey: undefined,
  baseUrl: undefined,
  chatModel: "unused",
  embeddingModel: "unused",
  timeoutMs: 1_000,
  prices: undefined,
});

/** What a worker needs, with the given enrichers beside a plain base. */
export function runtime({ pool }: TestDatabase, ...enrichers: readonly Pipeline[]): Context {
  const registry = new Map([plainBase, ...enrichers].map((p) => [p.name, p]));
  const checkpoints = new CheckpointWriter(pool);
  return {
    pool,
    schema: "loregraph",
    checkpoints,
    registry,
    models: localModels,
    log: pino({ level: "silent" }),
  };
}

/** A worker that is stopped, without draining, when the scope ends. */
export function startWorker(context: Context, { url }: TestDatabase, options: Partial<WorkerOptions> = {}) {
  const endings: { run: ClaimedRun; ending: Ending }[] = [];
  const onEnded = (run: ClaimedRun, ending: Ending) => {
    endings.push({ run, ending });
    options.onEnded?.(run, ending);
  };
  const worker = new Worker(context, { url, leaseMs: 2_000, drainMs: 0, ...options, onEnded });
  worker.start();
  return Object.assign(worker, { endings, [Symbol.asyncDispose]: () => worker.stop() });
}

/** Forgets all runs, so that no test finds what another left behind. For `afterEach`. */
export async function emptyLedger({ pool }: TestDatabase): Promise<void> {
  await pool.query(
    "truncate pipeline_runs, questions, tenant_controls, pipeline_controls, tenant_turns, checkpoints, checkpoint_blobs, checkpoint_writes",
  );
}

/** Something that a graph can wait at: the test learns that it has come, and lets it go on. */
export function gate() {
  const [arrived, open] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  return {
    /** Resolves once somebody stands at the gate. */
    reached: arrived.promise,
    open: () => open.resolve(),
    async pass(): Promise<void> {
      arrived.resolve();
      await open.promise;
    },
  };
}

/** Never ends, and heeds no signal. */
export function forever(): Promise<never> {
  return new Promise(() => {});
}

/** The newest run of a pipeline about a scene, whole. */
export async function runAbout({ pool }: Context, { source_id }: { source_id: string }, pipeline = "echo") {
  const run = (await listRuns(pool, { source_id, pipeline, limit: 1 }))[0];
  if (!run) throw new Error(`no run of ${pipeline} about ${source_id}`);
  return run;
}

/** Takes in one scene of a new tenant. */
export async function takeScene(context: Context, scene: Partial<NewEntity> & { tenant_id?: string } = {}) {
  const { tenant_id = randomUUID(), ...given } = scene;
  const entity: NewEntity = {
    source_type: "scene",
    source_id: randomUUID(),
    title: "The pier",
    text: "“You came,” said Mara.",
    metadata: {},
    ...given,
  };
  await acceptEntities(context.pool, context.registry, { tenant_id, source: "test", entities: [entity] });
  return { ...entity, tenant_id };
}
