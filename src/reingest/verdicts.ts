import { unresolved } from "../ledger/read.ts";
import type { SourceType } from "../pipeline.ts";
import type { Only } from "./request.ts";
import type { Considered, Scope } from "./scope.ts";

/** Which entities of one type a statement decides about: the next ones, in order; or all of them, in any order. */
export type Reach = { readonly type: SourceType } & (
  | { readonly kind: "page"; readonly after: string | null; readonly limit: number }
  | { readonly kind: "all" }
);

export type Statement = { readonly text: string; readonly values: readonly unknown[] };

type Value = (given: unknown) => string;

/** The pipelines of a scope by number, as statements call them: base is 0, whether it is considered or not. */
export function numbered({ base, enrichers }: Scope): readonly (Considered | undefined)[] {
  return [base, ...enrichers];
}

/**
 * Decides about each pair of entity and pipeline: `run`, `skip` as unchanged, or null where the scope leaves it out.
 *
 * Pairs come back counted, by pipeline and verdict. One by one come only those that somebody must see: what a page is
 * to enqueue, and what runs on the condition of a pipeline's own code, with the metadata that this asks for. Whether
 * that code still wants an unchanged output is not asked: it is there, and it is skipped.
 *
 * One type a statement, so that Postgres guesses the sizes right: it reads a page by the primary keys, and all of a
 * large type in one pass over each table. The same for all types at once took it 55 s for a million entities, where these take 7 s.
 */
export function verdictsOf(scope: Scope, reach: Reach): Statement {
  const values: unknown[] = [];
  const value: Value = (given) => `$${values.push(given)}`;
  const text = `
    with page as (${pageSql(scope, reach, value)}),
    considered as (${consideredSql(scope, reach, value)}),
    dead as materialized (${deadSql(scope, reach, value)}),
    ${pairsSql(scope, reach, value)}
    select nth, verdict, count(*)::integer as pairs, sum(octets)::float8 as octets, sum(known)::float8 as known,
      null::uuid as source_id, 0 as version, false as has_document, false as base_runs, null::jsonb as metadata,
      ${reach.kind === "page" ? lastInPage : "null::uuid"} as last
    from pair
    where source_id is null
    group by nth, verdict
    ${reach.kind === "page" || someAsk(scope, reach) ? oneByOneSql : ""}`;
  return { text, values };
}

// Postgres writes all pairs down where it reads them twice, so this is left out where it finds nothing.
const oneByOneSql = `
    union all
    select nth, verdict, 1, octets, known, source_id, version, has_document, base_runs, metadata, null
    from pair
    where source_id is not null`;

const firstInPage = "(select source_id from page order by source_id limit 1)";
const lastInPage = "(select source_id from page order by source_id desc limit 1)";

/** Must the pair be seen by itself? What follows from a base run is enqueued by its event. */
function oneByOne({ kind }: Reach): string {
  return kind === "page"
    ? "verdict = 'run' and (asks or nth = 0 or not base_runs)"
    : "verdict = 'run' and asks";
}

function pageSql(scope: Scope, reach: Reach, value: Value): string {
  const after = reach.kind === "page" ? reach.after : null;
  return `
    select source_id, version, octet_length(text) as octets, ${someAsk(scope, reach) ? "metadata" : "null::jsonb as metadata"}
    from entities
    where tenant_id = ${value(scope.tenant_id)} and source_type = ${value(reach.type)}
      ${after === null ? "" : `and source_id > ${value(after)}`}
      ${scope.ids ? `and source_id = any (${value(scope.ids.filter((id) => after === null || id > after))}::uuid[])` : ""}
      ${scope.changed_since ? `and changed_at >= ${value(scope.changed_since)}` : ""}
      and created_at <= coalesce(${value(scope.created_until ?? null)}::timestamptz, now())
    ${reach.kind === "page" ? `order by source_id limit ${value(reach.limit)}` : "offset 0"}`;
}

/** The pipelines that fit the type. Base is always there, so that every entity is counted. */
function consideredSql(scope: Scope, { type }: Reach, value: Value): string {
  const rows = numbered(scope).flatMap((each, nth) =>
    nth === 0 || fits(each, type) ? [{ nth, asks: asks(scope, each), name: each?.pipeline.name }] : [],
  );
  const column = (of: (row: (typeof rows)[number]) => unknown) => value(rows.map(of));
  return `
    select * from unnest(
      ${column(({ nth }) => nth)}::integer[],
      ${column(({ name }) => name)}::text[],
      ${column(({ asks }) => asks)}::boolean[]
    ) as considered (nth, pipeline, asks)`;
}

function fits(considered: Considered | undefined, type: SourceType): boolean {
  return considered?.pipeline.trigger.types?.includes(type) ?? considered !== undefined;
}

/** Does some code have to see the metadata: its own, or base's, on which it depends whether this one follows? */
function asks({ base }: Scope, considered: Considered | undefined): boolean {
  return [base, considered].some((each) => each?.pipeline.trigger.when !== undefined);
}

function someAsk(scope: Scope, { type }: Reach): boolean {
  return numbered(scope).some((each) => fits(each, type) && asks(scope, each));
}

function deadSql(scope: Scope, reach: Reach, value: Value): string {
  return `
    select distinct source_id, pipeline
    from pipeline_runs run
    where ${unresolved("run")}
      and tenant_id = ${value(scope.tenant_id)} and source_type = ${value(reach.type)}
      and pipeline = any (${value(numbered(scope).map((each) => each?.pipeline.name))}::text[])
      ${reach.kind === "page" ? `and source_id between ${firstInPage} and ${lastInPage}` : ""}`;
}

// An enricher runs from what base stored: without that, it can only follow a base run. Stamps are compared where they
// are read: carried through the joins, they would make these spill three times as much.
function pairsSql(scope: Scope, reach: Reach, value: Value): string {
  const { type } = reach;
  const ofType = `tenant_id = ${value(scope.tenant_id)} and source_type = ${value(type)}`;
  const { base, enrichers } = scope;
  const ofTypeToo = enrichers.filter((each) => fits(each, type));
  return `
    entity as (
      select page.*, document.source_id is not null as has_document,
        case when document.has_vectors and document.source_version >= version then octets else 0 end as known,
        ${fits(base, type) ? verdict(scope, "document", value) : "null"} as base_verdict
      from page
      left join (
        select source_id, source_version, pipeline_version, ${base ? isNow(base, value) : "null::boolean"} as is_now,
          ${base ? isRecoded(base, value) : "false"} as is_recoded,
          model = ${value(base?.maker.model ?? null)}::text as has_vectors
        from documents
        where ${ofType}
      ) document on document.source_id = page.source_id
      left join dead on dead.source_id = page.source_id and dead.pipeline = ${value(base?.pipeline.name ?? null)}::text
    ),
    judged as (
      select entity.source_id, version, octets, case when nth = 0 then known else 0 end as known, has_document, nth, asks, metadata,
        coalesce(base_verdict = 'run', false) as base_runs,
        case
          when nth = 0 then base_verdict
          when has_document or base_verdict = 'run' then ${verdict(base ? anyVersion(scope) : scope, "enrichment", value)}
        end as verdict
      from entity
      cross join considered
      left join (
        select source_id, source_version, pipeline, pipeline_version,
          ${anyOf(ofTypeToo, isNow, value)} as is_now,
          ${scope.only === "recoded" ? anyOf(ofTypeToo, isRecoded, value) : "false"} as is_recoded
        from enrichments
        where ${ofType} and pipeline = any (${value(ofTypeToo.map(({ pipeline }) => pipeline.name))}::text[])
      ) enrichment on enrichment.source_id = entity.source_id and enrichment.pipeline = considered.pipeline
      left join dead on dead.source_id = entity.source_id and dead.pipeline = considered.pipeline
    ),
    pair as (
      select nth, verdict, octets, known, version, has_document, base_runs,
        case when ${oneByOne(reach)} then source_id end as source_id,
        case when ${oneByOne(reach)} and asks then metadata end as metadata
      from judged
    )`;
}

/** Is a stored stamp what the pipeline would stamp now? */
function isNow({ maker }: Considered, value: Value): string {
  const [version, model, prompts] = [maker.pipeline_version, maker.model, maker.prompt_hash].map(value);
  return `(pipeline_version = ${version} and model = ${model} and prompt_hash = ${prompts})`;
}

/** Was it made by other code than the pipeline's is now? Of what older programs made nobody knows. */
function isRecoded({ maker }: Considered, value: Value): string {
  return `coalesce(fingerprint <> nullif(${value(maker.fingerprint)}::text, ''), false)`;
}

/** Is what a row says so of the pipeline that it is of? */
function anyOf(considered: readonly Considered[], is: typeof isNow, value: Value): string {
  const each = considered.map((one) => `pipeline = ${value(one.pipeline.name)} and ${is(one, value)}`);
  return each.length === 0 ? "false" : `(${each.join(" or ")})`;
}

/** The version that is named is base's: what follows from it is stale or not by its own. */
function anyVersion(scope: Scope): Scope {
  return { ...scope, stale_version: undefined };
}

/** Decides about the output of this name, by its entity's version and by what made it. */
function verdict({ only, stale_version, force }: Scope, output: string, value: Value): string {
  const fresh = `coalesce(${output}.is_now and ${output}.source_version >= version, false)`;
  const chosen = {
    missing: `${output}.source_id is null`,
    stale: `${output}.source_id is not null and not ${fresh}`,
    failed: "dead.source_id is not null",
    recoded: `${output}.is_recoded`,
  } satisfies Record<Only, string>;
  const runs = force ? "true" : `not ${fresh} or dead.source_id is not null`;
  const verdict = `case when ${runs} then 'run' else 'skip' end`;
  if (only === undefined) return verdict;
  const made = stale_version === undefined ? "" : ` and ${output}.pipeline_version = ${value(stale_version)}`;
  return `case when ${chosen[only]}${made} then ${verdict} end`;
}
