import type { Db } from "../db.ts";
import type { Pipeline, SourceType } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import type { Flags } from "../router.ts";
import { readFlags } from "../store/flags.ts";
import { type Maker, type ModelNames, makerOf } from "../store/stamps.ts";
import { type Filters, ingestionOf, type Only } from "./request.ts";

/** A pipeline that is considered, and what it would stamp its outputs with now. */
export type Considered = { readonly pipeline: Pipeline; readonly maker: Maker };

/** What a reingest decides about, and by which rule. */
export type Scope = {
  readonly tenant_id: string;
  /** Base ingestion, where it is considered: what follows from it then waits for it. */
  readonly base: Considered | undefined;
  readonly enrichers: readonly Considered[];
  /** In the order of pages. */
  readonly types: readonly SourceType[];
  /** In the order of pages; absent for all. */
  readonly ids: readonly string[] | undefined;
  readonly changed_since: string | undefined;
  /** Entities made after it are left out: a timestamp as Postgres reads it. Absent: the transaction's. */
  readonly created_until: string | undefined;
  readonly only: Only | undefined;
  /** With `only: stale`: which version of the named pipeline made them. */
  readonly stale_version: number | undefined;
  readonly force: boolean;
  readonly priority: number;
  /** What would be considered, but for something that a person may change. */
  readonly leftOut: readonly LeftOut[];
};

export type LeftOut = { readonly pipeline: string; readonly because: string };

export type ScopeContext = { readonly registry: Registry; readonly models: ModelNames };

/**
 * The pipelines considered, under the models and the feature flags of this moment. Throws MODEL_REQUIRED where a named
 * enricher needs a chat model and none is configured; unnamed, it is left out.
 */
export async function scopeOf(
  db: Db,
  context: ScopeContext,
  tenant_id: string,
  filters: Filters,
  created_until?: string,
): Promise<Scope> {
  const flags = (await readFlags(db, [tenant_id])).get(tenant_id) ?? {};
  const wanted = wantedBy(context.registry, filters);
  const named = !wanted.some(({ kind }) => kind === "ingestion");
  const models = named ? undefined : context.models;
  const leftOut = wanted.flatMap((pipeline) => whyNot(pipeline, flags, models));
  const considered = wanted
    .filter(({ name }) => !leftOut.some(({ pipeline }) => pipeline === name))
    .map((pipeline) => ({ pipeline, maker: makerOf(pipeline, context.models) }));
  const { types, ids, changed_since, only, stale_version, force, priority } = filters;
  return {
    tenant_id,
    base: considered.find(({ pipeline }) => pipeline.kind === "ingestion"),
    enrichers: considered.filter(({ pipeline }) => pipeline.kind === "enricher"),
    types,
    ids,
    changed_since: changed_since && new Date(changed_since).toISOString(),
    created_until,
    only,
    stale_version,
    force,
    priority,
    leftOut,
  };
}

/** The named enrichers, or base and what the event that it has ingested makes run. */
function wantedBy(registry: Registry, { pipelines }: Filters): readonly Pipeline[] {
  const base = ingestionOf(registry);
  return [...registry.values()].filter((pipeline) =>
    pipelines.includes(base.name)
      ? pipeline === base || pipeline.trigger.on === "entity.ingested"
      : pipelines.includes(pipeline.name),
  );
}

/** Why it is left out, or nothing. Without `models`, it is not asked whether it has the one that it needs. */
function whyNot(
  { name, kind, trigger, local }: Pipeline,
  flags: Flags,
  models?: ModelNames,
): readonly LeftOut[] {
  if (trigger.flag !== undefined && flags[trigger.flag] !== true)
    return [{ pipeline: name, because: `its feature flag ${trigger.flag} is off for this tenant` }];
  if (kind === "enricher" && local === undefined && models && models.chatName === undefined)
    return [{ pipeline: name, because: "it needs a chat model, and none is configured" }];
  return [];
}
