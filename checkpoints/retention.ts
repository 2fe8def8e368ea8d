import { z } from "zod";
import { type Db, one } from "../src/db.ts";
import { deletingThreads } from "./delete.ts";

/** How long the checkpoints of a pipeline's runs outlive their end. */
export type Keeping = { readonly name: string; readonly keepHours: number };

/** How long those of pipelines that nobody here knows are kept, in hours: 30 days. Another process may know them. */
export const unknownKeepHours = 720;

/** Runs that ended this lately are left to the next walk, in minutes: their transactions may not have committed yet. */
const lag = 2;

export type Walk = {
  /** How many runs one statement looks at. Defaults to 1,000. */
  readonly limit?: number;
  /** Ends the walk after the statement that runs. */
  readonly signal?: AbortSignal;
};

/** Pipelines whose checkpoints are kept equally long, and how far the last walk over their runs came. */
type Group = { readonly keepHours: number; readonly names: readonly string[] | null; upto: string };

/**
 * Deletes the checkpoints of runs that ended longer ago than their pipeline keeps them; waiting and failed runs keep
 * theirs. It remembers how far it came, so that each run is looked at once in the life of a process.
 */
export class Retention {
  readonly #known: readonly string[];
  readonly #groups: readonly Group[];

  constructor(pipelines: readonly Keeping[]) {
    const hours = [...new Set(pipelines.map(({ keepHours }) => keepHours))];
    const namesOf = (kept: number) =>
      pipelines.filter(({ keepHours }) => keepHours === kept).map(({ name }) => name);
    this.#known = pipelines.map(({ name }) => name);
    this.#groups = [
      ...hours.map((keepHours) => ({ keepHours, names: namesOf(keepHours), upto: "-infinity" })),
      { keepHours: unknownKeepHours, names: null, upto: "-infinity" },
    ];
  }

  /** @returns how many checkpoints went. */
  async deleteOld(db: Db, walk: Walk = {}): Promise<number> {
    let deleted = 0;
    for (const group of this.#groups) deleted += await this.#walk(db, group, walk);
    return deleted + (await deleteExpiredForks(db, walk));
  }

  async #walk(db: Db, group: Group, { limit = 1_000, signal }: Walk): Promise<number> {
    let deleted = 0;
    while (!signal?.aborted) {
      const { names, keepHours, upto } = group;
      const values = [limit, upto, keepHours, names === null, names ?? this.#known, lag];
      const page = await one(db, Page, deleteSql, values);
      deleted += page.checkpoints;
      if (page.upto !== null) group.upto = page.upto;
      if (page.runs < limit) break;
    }
    return deleted;
  }
}

/** Deletes the checkpoints of forks whose time is over; one that was never promoted is then past promoting. */
async function deleteExpiredForks(db: Db, { limit = 1_000, signal }: Walk): Promise<number> {
  let deleted = 0;
  while (!signal?.aborted) {
    const page = await one(db, ForkPage, deleteForksSql, [limit]);
    deleted += page.checkpoints;
    if (page.forks < limit) break;
  }
  return deleted;
}

const ForkPage = z.object({ forks: z.coerce.number(), checkpoints: z.coerce.number() });

// One that is being promoted is left for the next walk.
const deleteForksSql = `
  with due as materialized (
    select tenant_id, id, id::text as thread_id from forks
    where expires_at < now()
    order by expires_at
    limit $1
    for update skip locked
  ),
  ${deletingThreads("due")},
  ended as (
    update forks set expires_at = null, status = case forks.status when 'open' then 'expired' else forks.status end
    from due
    where forks.tenant_id = due.tenant_id and forks.id = due.id
  )
  select (select count(*) from due) as forks, (select count(*) from deleted) as checkpoints`;

/** `upto` is text: a Date would lose its microseconds, and the next page begin before it. */
const Page = z.object({
  runs: z.coerce.number(),
  checkpoints: z.coerce.number(),
  upto: z.string().nullable(),
});

// Walks the index `runs_by_end`, and locks nothing that a claim or a commit wants.
const deleteSql = `
  with ended as materialized (
    select id::text as thread_id, finished_at
    from pipeline_runs
    where finished_at > $2::timestamptz
      and finished_at < now() - greatest($3 * interval '1 hour', $6 * interval '1 minute')
      and status in ('success', 'cancelled') and started_at is not null
      and (pipeline = any ($5)) <> $4
    order by finished_at
    fetch first ($1::integer) rows with ties
  ),
  ${deletingThreads("ended")}
  select (select count(*) from ended) as runs, (select count(*) from deleted) as checkpoints,
    (select max(finished_at) from ended)::text as upto`;
