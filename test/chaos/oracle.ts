import type { Db } from "../../src/db.ts";
import { embeddedText } from "../../src/pipeline.ts";
import type { Thaw } from "./crew.ts";
import { type Call, vectorOf } from "./double.ts";
import { outputsOf } from "./pipelines.ts";
import type { Expected, Work } from "./work.ts";

/** What a storm left behind, and what is known of it from outside of the database. */
export type Evidence = {
  readonly db: Db;
  readonly work: Pick<Work, "expected" | "reingests">;
  readonly calls: readonly Call[];
  readonly deaths: readonly string[];
  readonly thaws: readonly Thaw[];
  /**
   * How long a question may be on its way to the double on this machine, in milliseconds. One that arrives no later
   * than this after its process lost the lease may have left before.
   */
  readonly lagMs: number;
};

/** A promise that was not kept, with some of the cases. */
export type Broken = { readonly promise: string; readonly cases: readonly unknown[] };

/** Asks the ledger and the stores, never a log, whether every promise was kept. */
export async function judge(evidence: Evidence): Promise<readonly Broken[]> {
  const { db } = evidence;
  const found: Broken[] = [];
  for (const [promise, sql] of Object.entries(queries)) {
    const { rows } = await db.query(sql);
    found.push({ promise, cases: rows });
  }
  found.push({ promise: "no process ends by itself", cases: evidence.deaths });
  found.push({ promise: "every accepted version is told once", cases: await mistold(evidence) });
  found.push({ promise: "what is stored is what calm work stores", cases: await differing(evidence) });
  found.push({ promise: "no answer that was saved is asked for again", cases: await askedAgain(evidence) });
  found.push({ promise: "every reingest completes", cases: await uncompleted(evidence) });
  return found
    .filter(({ cases }) => cases.length > 0)
    .map(({ promise, cases }) => ({ promise, cases: cases.slice(0, 5) }));
}

const ended = "('success', 'failed', 'cancelled')";

/** Each finds the cases in which its promise was broken. */
const queries = {
  "every run ends, and none as a dead letter": `
    select id, pipeline, source_id, status, error_code, error_message, attempt
    from loregraph.pipeline_runs where status not in ('success', 'cancelled')`,
  "no run ends twice": `
    select run, count(*) from chaos.transitions where became in ${ended} group by run having count(*) <> 1`,
  "no run is lost": `
    select run from chaos.transitions where was is null
    except select id from loregraph.pipeline_runs`,
  "a run is cancelled only where its entity went or a newer run took over": `
    select run.id, run.pipeline, run.source_id, run.error_code
    from loregraph.pipeline_runs run
    where run.status = 'cancelled'
      and not exists (
        select from loregraph.events gone
        where gone.source_id = run.source_id and gone.event = 'entity.deleted'
      )
      and not exists (
        select from loregraph.pipeline_runs newer
        where newer.source_id = run.source_id and newer.pipeline = run.pipeline and newer.id > run.id
      )`,
  "only who holds a lease ends its run, or whoever reaps it once it expired": `
    select run, pipeline, was, became, error_code, holder, pid, lease_expired
    from chaos.transitions
    where was = 'running' and not chaos.is_of(holder, pid)
      and not (error_code in ('LEASE_EXPIRED', 'WORKERS_LOST') and lease_expired and became <> 'success')`,
  "who lost a lease renews nothing and writes no checkpoint": "select * from chaos.strays",
  "caps hold": `
    select run, tenant_id, pipeline, tenant_running, tenant_cap, pipeline_running, pipeline_cap
    from chaos.transitions
    where became = 'running' and (tenant_running > tenant_cap or pipeline_running > pipeline_cap)`,
  "an event of a run is appended by the transaction that ends it well, once": `
    select run.id, run.pipeline, run.outcome, count(event.id) as events
    from loregraph.pipeline_runs run
    join chaos.transitions ending on ending.run = run.id and ending.became = 'success'
    left join loregraph.events event on event.run_id = run.id and event.transaction_id = ending.xid
      and event.event = case when run.pipeline = 'base' then 'entity.ingested' else 'entity.enriched' end
    group by run.id, run.pipeline, run.outcome
    having count(event.id) <> case when run.pipeline <> 'base' and run.outcome = 'duplicate_skipped' then 0 else 1 end`,
  "no event tells of a run that did not end well": `
    select event.id, event.event, event.run_id
    from loregraph.events event
    where event.run_id is not null and not exists (
      select from chaos.transitions ending
      where ending.run = event.run_id and ending.became = 'success' and ending.xid = event.transaction_id
    )`,
  "an output is stored by the transaction that ends its run well": `
    select output.run, output.stored
    from chaos.outputs output
    where not exists (
      select from chaos.transitions ending
      where ending.run = output.run and ending.became = 'success' and ending.xid = output.xid
    )`,
} as const satisfies Record<string, string>;

/** Entities whose `entity.changed` and `entity.deleted` are not exactly those of what was accepted, or not ingested. */
async function mistold({ db, work }: Evidence): Promise<readonly unknown[]> {
  const { rows } = await db.query(`
    select source_id,
      coalesce(array_agg(version order by id) filter (where event = 'entity.changed'), '{}') as changed,
      coalesce(array_agg(version order by id) filter (where event = 'entity.deleted'), '{}') as deleted,
      max(version) filter (where event = 'entity.ingested') as ingested
    from loregraph.events group by source_id`);
  const told = new Map(rows.map((row) => [row.source_id, row]));
  return [...work.expected.values()].flatMap(({ source_id, changed, deleted, version, is_live }) => {
    const row = told.get(source_id) ?? { changed: [], deleted: [], ingested: null };
    const right = String(row.changed) === String(changed) && String(row.deleted) === String(deleted);
    if (right && (!is_live || row.ingested === version)) return [];
    return [{ source_id, version, is_live, expected: { changed, deleted }, told: row }];
  });
}

/** Entities of which anything else is stored than calm work would have. */
async function differing({ db, work }: Evidence): Promise<readonly unknown[]> {
  const { rows } = await db.query(storedSql);
  const stored = new Map(rows.map((row) => [row.source_id, row.stored]));
  return [...work.expected.values()].flatMap((entity) => {
    const [is, wanted] = [stored.get(entity.source_id) ?? null, entity.is_live ? storedOf(entity) : null];
    return sorted(is) === sorted(wanted) ? [] : [{ source_id: entity.source_id, is, wanted }];
  });
}

function storedOf({ text, version }: Expected) {
  const title = "A scene";
  return {
    version,
    text,
    document: version,
    chunks: [
      {
        path: title,
        text,
        start: 0,
        end: text.length,
        vector: vectorOf(embeddedText({ path: title, text })),
      },
    ],
    words: 1,
    enrichments: Object.fromEntries(
      Object.entries(outputsOf(text)).map(([name, output]) => [name, { version, output }]),
    ),
  };
}

const storedSql = `
  select entity.source_id, jsonb_build_object(
    'version', entity.version,
    'text', entity.text,
    'document', (select source_version from loregraph.documents doc where doc.source_id = entity.source_id),
    'chunks', (
      select jsonb_agg(jsonb_build_object('path', chunk.path, 'text', chunk.text, 'start', chunk.start_offset,
        'end', chunk.end_offset, 'vector', to_jsonb(vectors.vector)) order by ordinal)
      from loregraph.chunks chunk join loregraph.chunk_vectors vectors using (tenant_id, source_type, source_id, ordinal)
      where chunk.source_id = entity.source_id
    ),
    'words', (select count(*) from loregraph.chunk_fts words where words.source_id = entity.source_id),
    'enrichments', (
      select jsonb_object_agg(pipeline, jsonb_build_object('version', source_version, 'output', output))
      from loregraph.enrichments enrichment where enrichment.source_id = entity.source_id
    )
  ) as stored
  from loregraph.entities entity`;

/** The same for the same content, in whatever order keys stand. */
function sorted(value: unknown): string {
  return JSON.stringify(value, (_, part) =>
    part && typeof part === "object" && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).toSorted(([one], [other]) => (one < other ? -1 : 1)))
      : part,
  );
}

/** How long after its thaw a question may arrive that a process had begun to ask before it was frozen, in milliseconds. */
const onItsWayMs = 2_000;

/** Had it left, or all but, when its process was frozen? Nobody can call that back. */
export function wasOnItsWay({ worker, at }: Call, thaws: readonly Thaw[]): boolean {
  return thaws.some((thaw) => thaw.worker === worker && at >= thaw.at && at < thaw.at + onItsWayMs);
}

/**
 * Questions that reached the double though their answer was safe in a checkpoint of the same run by then: who asks
 * again after the note of it, and before one that it was dropped. The clock of both is that of this machine.
 */
async function askedAgain({ db, calls, thaws, lagMs }: Evidence): Promise<readonly unknown[]> {
  const { rows } = await db.query(
    "select run, node, is_gone, extract(epoch from at)::float8 * 1000 as at from chaos.answers order by at",
  );
  const notes = Map.groupBy(rows, ({ run, node }) => `${run} ${node}`);
  const again = calls.flatMap((call) => {
    const saved = notes.get(`${call.run} ${call.node}`)?.findLast((note) => note.at < call.at);
    return saved?.is_gone === false && !wasOnItsWay(call, thaws) ? [{ ...call, saved: saved.at }] : [];
  });
  const cases = again.map(async (call) => {
    const lost = await lostAt(db, call);
    return lost !== null && call.at - lost < lagMs ? [] : [{ ...call, life: await lifeOf(db, call.run) }];
  });
  return (await Promise.all(cases)).flat();
}

/** When the process that asks last lost its lease of the run, or null where it never did. */
async function lostAt(db: Db, { run, worker, at }: Call): Promise<number | null> {
  const { rows } = await db.query(
    `select extract(epoch from max(at))::float8 * 1000 as at
     from chaos.transitions
     where run = $1 and was = 'running' and chaos.is_of(holder, $2) and at < to_timestamp($3::float8 / 1000)`,
    [run, worker, at],
  );
  return rows[0].at;
}

/** What happened to a run, for whoever looks for the reason. */
async function lifeOf(db: Db, run: string): Promise<unknown> {
  const { rows } = await db.query(
    `select became, pid, error_code, extract(epoch from at)::float8 * 1000 as at
     from chaos.transitions where run = $1 order by seq`,
    [run],
  );
  return rows.map(({ became, pid, error_code, at }) => [became, pid, error_code, at].join(" "));
}

async function uncompleted({ db, work }: Evidence): Promise<readonly unknown[]> {
  const { rows } = await db.query(
    "select tenant_id, idempotency_key as key, status from loregraph.reingests",
  );
  return work.reingests.filter(
    ({ tenant_id, key }) =>
      !rows.some((row) => row.tenant_id === tenant_id && row.key === key && row.status === "completed"),
  );
}
