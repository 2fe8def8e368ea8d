import { contendedTransaction, type Db, type Pool } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { cancelRunsNamed } from "../ledger/cancel.ts";
import { triedName } from "../ledger/tried.ts";
import { publish } from "../publish.ts";
import { findPipeline, type LoadedRegistry } from "../registry.ts";
import type { Routable } from "../router.ts";
import { candidateKeys, stampOfTaken, type Taken, type Tried, takeCandidates } from "../store/candidates.ts";
import { storeEnrichments } from "../store/enrichments.ts";
import { lockEntities } from "../store/entities.ts";
import { lockOpenRollout, moveRollout, type Rollout } from "../store/rollouts.ts";
import { heedPromotions } from "./promotions.ts";

export type EndContext = { readonly pool: Pool; readonly registry: LoadedRegistry };

export type EndedRollout = {
  readonly rollout: Rollout;
  /** Candidates that became what is stored, by this call. */
  readonly promoted: number;
  /** Candidates that were forgotten, by this call: of an older version than what was stored meanwhile, or dropped. */
  readonly forgotten: number;
};

/** Candidates that are moved by one transaction. */
const batch = 200;

/**
 * Lets the version that was tried be the one that runs, and what it made what is stored, told of as if it had been made
 * now. It goes on where an earlier call was cut off. Throws NOT_FOUND and STATE_TRANSITION.
 */
export async function promoteRollout(context: EndContext, pipeline: string): Promise<EndedRollout> {
  const { pool, registry } = context;
  const open = await contendedTransaction(pool, (db) =>
    take(db, pipeline, "promoting", (rollout) => assertLoaded(registry, rollout)),
  );
  await heedPromotions(pool, registry);
  await cancelAll(pool, open);
  const [promoted, forgotten] = await moveAll(pool, open, (db, taken) => store(db, registry, taken));
  return { rollout: await moveRollout(pool, open, "promoted"), promoted, forgotten };
}

/** Forgets what the version that was tried made. It goes on where an earlier call was cut off. Throws as promoting does. */
export async function dropRollout(
  { pool }: Pick<EndContext, "pool">,
  pipeline: string,
): Promise<EndedRollout> {
  const open = await contendedTransaction(pool, (db) => take(db, pipeline, "dropping"));
  await cancelAll(pool, open);
  const [promoted, forgotten] = await moveAll(pool, open, async () => 0);
  return { rollout: await moveRollout(pool, open, "dropped"), promoted, forgotten };
}

async function take(
  db: Db,
  pipeline: string,
  status: "promoting" | "dropping",
  assert: (open: Rollout) => void = () => {},
): Promise<Rollout> {
  const open = await lockOpenRollout(db, pipeline);
  if (open === undefined) throw new LoregraphError("NOT_FOUND", `no rollout of ${pipeline} is open`);
  assert(open);
  if (open.status === status) return open;
  if (open.status === "running") return await moveRollout(db, open, status);
  throw new LoregraphError(
    "STATE_TRANSITION",
    `the rollout of ${pipeline} is ${open.status}, and cannot be ${status}`,
  );
}

function assertLoaded(registry: LoadedRegistry, { pipeline, to_version }: Rollout): void {
  if (findPipeline(registry, pipeline, to_version)) return;
  const what = `version ${to_version} of ${pipeline} is not loaded: expected langgraph.json to name it`;
  throw new LoregraphError("REGISTRY_INVALID", what);
}

async function cancelAll(pool: Pool, { pipeline, to_version }: Rollout): Promise<void> {
  const name = triedName({ name: pipeline, version: to_version });
  while ((await contendedTransaction(pool, (db) => cancelRunsNamed(db, name))) > 0);
}

/** @returns how many candidates were kept and how many forgotten. */
async function moveAll(
  pool: Pool,
  { pipeline, to_version }: Rollout,
  keep: (db: Db, taken: readonly Taken[]) => Promise<number>,
): Promise<readonly [number, number]> {
  const tried: Tried = { pipeline, pipeline_version: to_version };
  let [kept, forgotten] = [0, 0];
  for (let more = true; more; ) {
    more = await contendedTransaction(pool, async (db) => {
      const keys = await candidateKeys(db, tried, batch);
      // In the order of everybody who stores what was learnt: entities first.
      await lockEntities(db, keys);
      const taken = await takeCandidates(db, tried, keys);
      const count = await keep(db, taken);
      [kept, forgotten] = [kept + count, forgotten + taken.length - count];
      return keys.length > 0;
    });
  }
  return [kept, forgotten];
}

async function store(db: Db, registry: LoadedRegistry, taken: readonly Taken[]): Promise<number> {
  const kept = taken.filter(({ overtaken }) => !overtaken).toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  await storeEnrichments(
    db,
    kept.map((candidate) => {
      const { pipeline, source_version, outcome, output, run_id } = candidate;
      return {
        key: candidate,
        pipeline,
        source_version,
        outcome,
        output,
        run_id,
        stamp: stampOfTaken(candidate),
      };
    }),
  );
  await publish(db, registry, kept.flatMap(eventsOf));
  return kept.length;
}

function keyOf({ tenant_id, source_type, source_id }: Taken): string {
  return `${tenant_id} ${source_type} ${source_id}`;
}

function eventsOf({ pipeline, outcome, events, source_version, ...key }: Taken): readonly Routable[] {
  const { tenant_id, source_type, source_id } = key;
  const enriched = { event: "entity.enriched", metadata: { pipeline, outcome } };
  return [enriched, ...events].map(({ event, metadata }) => ({
    ...{ event, tenant_id, source_type, source_id, metadata },
    version: source_version,
  }));
}
