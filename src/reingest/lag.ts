import { z } from "zod";
import { type Db, one } from "../db.ts";

const Lag = z.object({ reingests: z.coerce.number(), undecided: z.coerce.number() });
export type Lag = z.infer<typeof Lag>;

/** How many reingests run, and about how many pairs of entity and pipeline their producers have yet to decide. */
export async function readLag(db: Db): Promise<Lag> {
  return await one(
    db,
    Lag,
    `select count(*) as reingests,
       coalesce(sum(greatest(0, total - skipped - enqueued - coalesce((cursor ->> 'follows')::bigint, 0))) filter (where produced_at is null), 0) as undecided
     from reingests where status in ('planned', 'running')`,
  );
}

/** Is there a reingest that is not held back and has not come to its end? */
export async function hasReingestsToProduce(db: Db): Promise<boolean> {
  const { open } = await one(
    db,
    z.object({ open: z.boolean() }),
    `select exists (
       select from reingests r
       where status in ('planned', 'running') and not exists (
         select from tenant_controls c where c.tenant_id = r.tenant_id and c.paused_at is not null
       )
     ) as open`,
  );
  return open;
}
