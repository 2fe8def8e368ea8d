import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../../src/db.ts";
import { messageOf } from "../../src/errors.ts";
import { acceptEntities, removeEntities } from "../../src/intake.ts";
import {
  capPipeline,
  changeTenant,
  pausePipeline,
  pauseTenant,
  resumePipeline,
  resumeTenant,
} from "../../src/ledger/controls.ts";
import { openModels } from "../../src/models/models.ts";
import { ReingestRequest } from "../../src/reingest/request.ts";
import { startReingest } from "../../src/reingest/start.ts";
import { registry } from "./pipelines.ts";
import { between, drawn, uuidOf } from "./random.ts";

/** An entity as the ledger is to have it in the end, and what is to have been told of it. */
export type Expected = {
  readonly tenant_id: string;
  readonly source_id: string;
  text: string;
  version: number;
  is_live: boolean;
  /** The versions of its events, in order. */
  readonly changed: number[];
  readonly deleted: number[];
};

export type WorkOptions = {
  readonly pool: Pool;
  readonly seed: number;
  readonly tenants: number;
  readonly entitiesPerTenant: number;
  /** The address of the model double, by which a reingest reckons what it would cost. */
  readonly models: string;
};

export type Work = {
  readonly expected: ReadonlyMap<string, Expected>;
  /** The reingests that were asked for, by key and tenant. */
  readonly reingests: readonly { readonly tenant_id: string; readonly key: string }[];
  /** Bounds the first tenant and the pipeline `pair`. */
  setCaps(tenant: number, pipeline: number): Promise<void>;
  takeAll(): Promise<void>;
  /** Does the `n`th thing that its seed wants done. */
  step(n: number): Promise<string>;
  /** Changes a few entities, so that there is something to do. */
  nudge(what: string): Promise<void>;
  /** Ends every pause. */
  resumeAll(): Promise<void>;
};

const pipelines = ["base", "chain", "pair", "quick"] as const;

/** What users do meanwhile, drawn from a seed: it goes through in the end, whatever befalls the database. */
export function planWork({ pool, seed, tenants, entitiesPerTenant, models }: WorkOptions): Work {
  const tenantIds = Array.from({ length: tenants }, (_, n) => uuidOf(`${seed} tenant ${n}`));
  const expected = new Map<string, Expected>();
  const reingests: { tenant_id: string; key: string }[] = [];
  for (const tenant_id of tenantIds) {
    for (let n = 0; n < entitiesPerTenant; n++) {
      const source_id = uuidOf(`${tenant_id} scene ${n}`);
      const fresh = { text: "", version: 0, is_live: false, changed: [], deleted: [] };
      expected.set(source_id, { tenant_id, source_id, ...fresh });
    }
  }
  const all = [...expected.values()];
  const tenantOf = (what: string) => drawn(seed, `${what} tenant`, tenantIds);
  const someOf = (what: string, most: number) => [
    ...new Set(Array.from({ length: most }, (_, n) => drawn(seed, `${what} entity ${n}`, all))),
  ];

  async function take(entities: readonly Expected[]): Promise<void> {
    for (const entity of entities) note(entity);
    for (const tenant_id of new Set(entities.map((entity) => entity.tenant_id))) {
      const own = entities.filter((entity) => entity.tenant_id === tenant_id);
      await insist(() =>
        acceptEntities(pool, registry, { tenant_id, source: "chaos", entities: own.map(given) }),
      );
    }
  }

  async function remove(entity: Expected): Promise<void> {
    if (!entity.is_live) return await take([entity]);
    entity.is_live = false;
    entity.version++;
    entity.deleted.push(entity.version);
    await insist(() => removeEntities(pool, registry, entity.tenant_id, [key(entity)]));
  }

  async function reingest(tenant_id: string, name: string): Promise<void> {
    reingests.push({ tenant_id, key: name });
    const request = ReingestRequest.parse({ pipelines: ["chain", "quick"], types: ["scene"], force: true });
    const planning = { pool, registry, models: modelsAt(models) };
    await insist(() => startReingest(planning, tenant_id, request, { key: name }));
  }

  const steps: Readonly<Record<string, (what: string) => Promise<unknown>>> = {
    "new versions": (what) => take(someOf(what, 8)),
    "more versions": (what) => take(someOf(what, 3)),
    "one deleted, or back": async (what) => {
      for (const entity of someOf(what, 1)) await remove(entity);
    },
    "a tenant paused": (what) => insist(() => pauseTenant(pool, tenantOf(what))),
    "all tenants resumed": () => resumeTenants(),
    "a pipeline paused": (what) => insist(() => pausePipeline(pool, drawn(seed, what, pipelines))),
    "all pipelines resumed": () => resumePipelines(),
    "a reingest": async (what) => {
      if (between(seed, `${what} wanted`, 1, 2) === 1) await reingest(tenantOf(what), what);
    },
  };
  const resumeTenants = async () => {
    for (const tenant_id of tenantIds) await insist(() => resumeTenant(pool, tenant_id));
  };
  const resumePipelines = async () => {
    for (const name of pipelines) await insist(() => resumePipeline(pool, name));
  };

  return {
    expected,
    reingests,
    async setCaps(tenant, pipeline) {
      const [first = ""] = tenantIds;
      await changeTenant(pool, first, { max_running: tenant });
      await capPipeline(pool, "pair", pipeline);
    },
    async takeAll() {
      for (let at = 0; at < all.length; at += 100) await take(all.slice(at, at + 100));
    },
    async step(n) {
      const name = drawn(seed, `step ${n}`, Object.keys(steps));
      await steps[name]?.(`step ${n}`);
      return name;
    },
    nudge: (what) => take(someOf(`nudge ${what}`, 2)),
    async resumeAll() {
      await resumeTenants();
      await resumePipelines();
    },
  };
}

function note(entity: Expected): void {
  entity.version++;
  entity.is_live = true;
  entity.changed.push(entity.version);
  entity.text = `Take ${entity.version} of scene ${entity.source_id}.`;
}

const key = ({ source_id }: Expected) => ({ source_type: "scene" as const, source_id });

function given(entity: Expected) {
  return { ...key(entity), title: "A scene", text: entity.text, metadata: {} };
}

function modelsAt(baseUrl: string) {
  const settings = { apiKey: "planner", baseUrl, chatModel: "double", embeddingModel: "double" };
  return openModels({ ...settings, timeoutMs: 3_000, prices: undefined });
}

/** How long the database may be away for a user, in milliseconds. */
const patienceMs = 90_000;

/**
 * Tries until it goes through, as a client must who got no answer: all of what is done here may be done twice. That
 * the first try was committed, though its answer was lost, changes nothing.
 */
export async function insist<Result>(work: () => Promise<Result>): Promise<Result> {
  for (const until = Date.now() + patienceMs; ; ) {
    try {
      return await work();
    } catch (error) {
      if (Date.now() > until) throw new Error(`still in vain: ${messageOf(error)}`, { cause: error });
      await delay(100);
    }
  }
}
