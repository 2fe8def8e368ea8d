import { z } from "zod";
import { type Db, many, maybeOne, one } from "../db.ts";
import { sha256 } from "../hash.ts";

const RolloutStatus = z.enum(["running", "promoting", "promoted", "dropping", "dropped"]);

/** A version of a pipeline that is tried on a share of the entities, or was. */
export const Rollout = z.object({
  id: z.guid(),
  pipeline: z.string(),
  from_version: z.int(),
  to_version: z.int(),
  /** Null for all tenants. */
  tenant_id: z.guid().nullable(),
  /** From 0 to 1. */
  share: z.number(),
  status: RolloutStatus,
  started_at: z.date(),
  ended_at: z.date().nullable(),
});
export type Rollout = z.infer<typeof Rollout>;

/** What a rollout tries, and on what. */
export type Trial = Pick<Rollout, "pipeline" | "from_version" | "to_version" | "tenant_id" | "share">;

/** Is an entity in the share? The same ones are at any time, and a larger share has those of a smaller one. */
export function isInShare(
  { pipeline, share }: Pick<Rollout, "pipeline" | "share">,
  source_id: string,
): boolean {
  return Number.parseInt(sha256(`${pipeline} ${source_id}`).slice(0, 7), 16) < share * 0x1000_0000;
}

/** The same as a condition, of a pipeline and a share that are parameters. */
export const inShareSql = (source_id: string, pipeline: string, share: string) => `
  ('x' || left(encode(sha256(convert_to(${pipeline} || ' ' || ${source_id}::text, 'UTF8')), 'hex'), 7))::bit(28)::integer
    < ${share}::double precision * 268435456`;

/** The rollouts that run now. */
export async function runningRollouts(db: Db): Promise<readonly Rollout[]> {
  return await many(db, Rollout, "select * from rollouts where status = 'running' order by pipeline");
}

/** The rollouts of a pipeline, or of all, the newest first. */
export async function listRollouts(db: Db, pipeline?: string): Promise<readonly Rollout[]> {
  return await many(
    db,
    Rollout,
    "select * from rollouts where $1::text is null or pipeline = $1 order by started_at desc, id desc limit 100",
    [pipeline ?? null],
  );
}

/** The rollout of a pipeline that has not ended, or undefined; held until the transaction ends. */
export async function lockOpenRollout(db: Db, pipeline: string): Promise<Rollout | undefined> {
  return await maybeOne(
    db,
    Rollout,
    "select * from rollouts where pipeline = $1 and ended_at is null for update",
    [pipeline],
  );
}

export async function insertRollout(db: Db, trial: Trial): Promise<Rollout> {
  const { pipeline, from_version, to_version, tenant_id, share } = trial;
  return await one(
    db,
    Rollout,
    `insert into rollouts (pipeline, from_version, to_version, tenant_id, share) values ($1, $2, $3, $4, $5)
     returning *`,
    [pipeline, from_version, to_version, tenant_id, share],
  );
}

export async function growRollout(db: Db, { id }: Pick<Rollout, "id">, share: number): Promise<Rollout> {
  return await one(db, Rollout, "update rollouts set share = $2 where id = $1 returning *", [id, share]);
}

/** Takes a rollout on. Who stores what a tried version made waits for it, or is waited for. */
export async function moveRollout(
  db: Db,
  { id }: Pick<Rollout, "id">,
  status: Rollout["status"],
): Promise<Rollout> {
  return await one(
    db,
    Rollout,
    `update rollouts set status = $2,
       ended_at = case when $2 in ('promoted', 'dropped') then now() end
     where id = $1 returning *`,
    [id, status],
  );
}

const Promoted = z.object({ pipeline: z.string(), version: z.int() });

/** The versions that were promoted last, by pipeline. */
export async function promotedVersions(db: Db): Promise<ReadonlyMap<string, number>> {
  const rows = await many(
    db,
    Promoted,
    `select distinct on (pipeline) pipeline, to_version as version from rollouts
     where status in ('promoting', 'promoted')
     order by pipeline, started_at desc, id desc`,
  );
  return new Map(rows.map(({ pipeline, version }) => [pipeline, version]));
}
