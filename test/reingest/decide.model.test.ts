import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import type { Pipeline } from "../../src/pipeline.ts";
import type { Only, ReingestRequest } from "../../src/reingest/request.ts";
import { makerOf } from "../../src/store/stamps.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { decideAtOnce, decideBy, scopeFor } from "../support/decisions.ts";
import { echo, plainBase } from "../support/pipelines.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const enricher = (name: string, trigger: Partial<Pipeline["trigger"]>) =>
  echo(() => ({ said: "" }), { name, version: 2, trigger: { on: "entity.ingested", ...trigger } });
const enrichers = [
  enricher("any", {}),
  enricher("scenes", { types: ["scene"] }),
  enricher("told", { when: ({ told }) => told === true }),
];

/** What is stored of a pipeline: nothing, or an output that is like what would be made now but for what it names. */
const Output = fc.constantFrom("none", "same", "older", "other version", "other model", "other prompts");
/** The endings of earlier runs, the oldest first. */
const Runs = fc.array(fc.constantFrom("failed", "success", "cancelled"), { maxLength: 3 });
const State = fc.record({ output: Output, runs: Runs });

const Entity = fc
  .record({
    type: fc.constantFrom("scene", "lore"),
    told: fc.boolean(),
    base: State,
    any: State,
    scenes: State,
    told_: State,
  })
  // Outputs of enrichers lie on what base stored; a condition that is not met has left none behind.
  .map(({ told_, ...entity }) => ({
    ...entity,
    told_: entity.told ? told_ : { ...told_, output: "none" as const },
  }))
  .map(({ type, told, base, any, scenes, told_ }) => {
    const gone = base.output === "none";
    const kept = (state: State) => (gone ? { ...state, output: "none" as const } : state);
    return {
      id: randomUUID(),
      type,
      told,
      states: { base, any: kept(any), scenes: kept(scenes), told: kept(told_) },
    };
  });

type State = {
  readonly output: "none" | "same" | "older" | "other version" | "other model" | "other prompts";
  readonly runs: readonly string[];
};
type Entity = typeof Entity extends fc.Arbitrary<infer Value> ? Value : never;

const Asked = fc
  .record(
    {
      force: fc.boolean(),
      only: fc.constantFrom("stale", "failed", "missing"),
      pipelines: fc.constantFrom<string[]>(["base"], ["any"], ["scenes", "told"]),
    },
    { requiredKeys: [] },
  )
  .filter(({ force, only }) => !(force && only === "missing"));
type Asked = Partial<Pick<ReingestRequest, "force" | "pipelines">> & { only?: Exclude<Only, "recoded"> };

/** The rule in plain words. */
function reference(entity: Entity, { force = false, only, pipelines = ["base"] }: Asked) {
  const fits: Record<string, boolean> = {
    base: true,
    any: true,
    scenes: entity.type === "scene",
    told: entity.told,
  };
  const judge = (name: keyof Entity["states"]): "run" | "skip" | undefined => {
    const { output, runs } = entity.states[name];
    const failed = runs.includes("failed") && !runs.slice(runs.lastIndexOf("failed")).includes("success");
    const chosen = { missing: output === "none", stale: output !== "none" && output !== "same", failed };
    if (!fits[name] || (only && !chosen[only])) return undefined;
    return force || output !== "same" || failed ? "run" : "skip";
  };
  const base = pipelines.includes("base") ? judge("base") : undefined;
  const names = pipelines.includes("base")
    ? (["any", "scenes", "told"] as const)
    : (pipelines as (keyof Entity["states"])[]);
  const hasDocument = entity.states.base.output !== "none";
  const verdicts = names.map((name) => ({
    name,
    verdict: hasDocument || base === "run" ? judge(name) : undefined,
  }));
  const all = [{ name: "base", verdict: base }, ...verdicts].filter(({ verdict }) => verdict !== undefined);
  return {
    enqueued: all
      .filter(({ name, verdict }) => verdict === "run" && (name === "base" || base !== "run"))
      .map(({ name }) => `${entity.id} ${name}`),
    skipped: all.filter(({ verdict }) => verdict === "skip").length,
    run: all.filter(({ verdict }) => verdict === "run").length,
  };
}

const version = 3;

async function store(context: Context, tenant_id: string, entities: readonly Entity[]): Promise<void> {
  const { pool, registry, models } = context;
  const rows = entities.flatMap(({ id, type, states }) =>
    Object.entries(states).map(([pipeline, { output, runs }]) => {
      const definition = registry.get(pipeline);
      if (!definition) throw new Error(`no pipeline ${pipeline}`);
      const maker = makerOf(definition, models);
      return {
        source_type: type,
        source_id: id,
        pipeline,
        runs,
        is_stored: output !== "none",
        source_version: output === "older" ? version - 1 : version,
        pipeline_version: maker.pipeline_version + (output === "other version" ? 1 : 0),
        model: output === "other model" ? "another" : maker.model,
        prompt_hash: output === "other prompts" ? "another" : maker.prompt_hash,
      };
    }),
  );
  await pool.query(
    `insert into entities (tenant_id, source_type, source_id, version, title, text, metadata, source)
     select $1, type, id, $2, '', 'x', jsonb_build_object('told', told), 'test'
     from jsonb_to_recordset($3) as given (id uuid, type text, told boolean)`,
    [tenant_id, version, JSON.stringify(entities)],
  );
  const given = `jsonb_to_recordset($2) as given (source_type text, source_id uuid, pipeline text, runs jsonb,
    is_stored boolean, source_version integer, pipeline_version integer, model text, prompt_hash text)`;
  const values = [tenant_id, JSON.stringify(rows)];
  await pool.query(
    `insert into documents (tenant_id, source_type, source_id, source_version, kind, pipeline_version, model, prompt_hash,
       input_hash, run_id)
     select $1, source_type, source_id, source_version, 'empty', pipeline_version, model, prompt_hash, '', gen_random_uuid()
     from ${given} where pipeline = 'base' and is_stored`,
    values,
  );
  await pool.query(
    `insert into enrichments (tenant_id, source_type, source_id, pipeline, source_version, outcome, output,
       pipeline_version, model, prompt_hash, input_hash, run_id)
     select $1, source_type, source_id, pipeline, source_version, 'completed', '{}', pipeline_version, model, prompt_hash,
       '', gen_random_uuid()
     from ${given} where pipeline <> 'base' and is_stored`,
    values,
  );
  await pool.query(
    `insert into pipeline_runs (tenant_id, source_type, source_id, source_version, pipeline, status, outcome, max_attempts,
       error_code, error_message, finished_at)
     select $1, source_type, source_id, 1, pipeline, run.status, case run.status when 'success' then 'completed' end, 1,
       'X', 'x', now() + run.nth * interval '1 second'
     from ${given}, jsonb_array_elements_text(runs) with ordinality as run (status, nth)`,
    values,
  );
}

test("decides about any state as the plain rule does, in pages and at once", async () => {
  const context = runtime(database, ...enrichers);
  expect(context.registry.get("base")).toBe(plainBase);

  await fc.assert(
    fc.asyncProperty(
      fc.array(Entity, { maxLength: 8 }),
      Asked,
      fc.integer({ min: 1, max: 9 }),
      async (entities, asked, limit) => {
        const tenant_id = randomUUID();
        await store(context, tenant_id, entities);
        const scope = await scopeFor(context, tenant_id, asked);

        const { runs, seen, skipped, pairs } = await decideBy(context, scope, limit);

        const expected = entities.map((entity) => reference(entity, asked));
        expect(seen).toBe(entities.length);
        expect(runs.map((run) => `${run.source_id} ${run.pipeline}`).toSorted()).toEqual(
          expected.flatMap(({ enqueued }) => enqueued).toSorted(),
        );
        expect(new Set(runs.map((run) => run.force))).toEqual(
          new Set(runs.length > 0 ? [asked.force ?? false] : []),
        );
        expect(skipped).toBe(expected.reduce((sum, each) => sum + each.skipped, 0));
        expect(pairs.reduce((sum, { run }) => sum + run, 0)).toBe(
          expected.reduce((sum, each) => sum + each.run, 0),
        );
        expect(await decideAtOnce(context, scope)).toEqual({ seen, skipped, pairs });
      },
    ),
    { numRuns: 80 },
  );
}, 60_000);
