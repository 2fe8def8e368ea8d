import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Pipeline, runtimeEvents, sourceTypes, type Trigger } from "../src/pipeline.ts";
import { type Routable, route } from "../src/router.ts";
import { echo } from "./support/pipelines.ts";

function pipeline(name: string, trigger: Trigger, given: Parameters<typeof echo>[1] = {}): Pipeline {
  return echo(() => ({ said: "" }), { name, trigger, ...given });
}

function event(given: Partial<Routable> = {}): Routable {
  return {
    event: "entity.ingested",
    tenant_id: randomUUID(),
    source_type: "scene",
    source_id: randomUUID(),
    version: 3,
    metadata: {},
    ...given,
  };
}

function routed(happened: Routable, trigger: Trigger, flags?: Record<string, boolean>): boolean {
  return route(happened, [pipeline("one", trigger)], flags).length === 1;
}

test("makes the run that a pipeline's trigger asks for, of the event's entity, as the pipeline says", () => {
  const happened = event();
  const runs = route(happened, [
    pipeline("one", { on: "entity.ingested" }, { priority: 7, retries: { attempts: 2 } }),
    pipeline("other", { on: "entity.deleted" }),
  ]);

  expect(runs).toEqual([
    {
      tenant_id: happened.tenant_id,
      source_type: "scene",
      source_id: happened.source_id,
      source_version: 3,
      pipeline: "one",
      priority: 7,
      max_attempts: 2,
    },
  ]);
});

describe("routes", () => {
  const on = "entity.ingested";

  test("all source types where none is named, else those that are", () => {
    expect(routed(event(), { on })).toBe(true);
    expect(routed(event(), { on, types: ["story", "scene"] })).toBe(true);
    expect(routed(event(), { on, types: ["story"] })).toBe(false);
    expect(routed(event(), { on, types: [] })).toBe(false);
  });

  test("what the condition on metadata lets through", () => {
    const when = ({ content_kind }: Record<string, unknown>) => content_kind !== "outline";
    expect(routed(event({ metadata: { content_kind: "draft" } }), { on, when })).toBe(true);
    expect(routed(event({ metadata: { content_kind: "outline" } }), { on, when })).toBe(false);
  });

  test("only under a flag that is on", () => {
    expect(routed(event(), { on, flag: "moods" }, { moods: true })).toBe(true);
    expect(routed(event(), { on, flag: "moods" }, { moods: false })).toBe(false);
    expect(routed(event(), { on, flag: "moods" }, { other: true })).toBe(false);
    expect(routed(event(), { on, flag: "moods" })).toBe(false);
  });

  test("events of graphs as those of the runtime", () => {
    expect(routed(event({ event: "mood.found" }), { on: "mood.found" })).toBe(true);
  });
});

describe("what an enricher has stored", () => {
  const on = "mood.enriched";
  const stored = (outcome: string, pipeline = "mood") =>
    event({ event: "entity.enriched", metadata: { pipeline, outcome } });

  test("is told to those that wait for it, and to nobody else", () => {
    expect(routed(stored("completed"), { on })).toBe(true);
    expect(routed(stored("completed", "traits"), { on })).toBe(false);
    expect(routed(event({ event: "entity.ingested" }), { on })).toBe(false);
  });

  test("may be that it skipped the entity, but not what it rejected, of which nothing is stored", () => {
    expect(routed(stored("skipped"), { on })).toBe(true);
    expect(routed(stored("eval_rejected"), { on })).toBe(false);
  });

  test("is asked for its outcome by a condition", () => {
    const when = ({ outcome }: Record<string, unknown>) => outcome === "completed";
    expect(routed(stored("completed"), { on, when })).toBe(true);
    expect(routed(stored("skipped"), { on, when })).toBe(false);
  });

  test("is not what another event of that ending tells", () => {
    expect(routed(stored("completed"), { on: "entity.enriched" })).toBe(true);
    expect(routed(event({ event: "mood.enriched" }), { on: "mood" })).toBe(false);
  });
});

describe("those that an event mentions", () => {
  const mara = { source_type: "character", source_id: randomUUID() } as const;
  const pier = { source_type: "location", source_id: randomUUID() } as const;
  const trigger: Trigger = { on: "entity.ingested", types: ["character"], mentioned: true };

  test("get a run where the pipeline asks for them", () => {
    const happened = event({ metadata: { mentions: [mara, pier] } });

    expect(route(happened, [pipeline("traits", trigger)])).toMatchObject([
      { ...mara, tenant_id: happened.tenant_id, pipeline: "traits" },
    ]);
    expect(route(happened, [pipeline("traits", { ...trigger, mentioned: false })])).toEqual([]);
  });

  test("get one again when the text that spoke of them is gone", () => {
    const happened = event({ event: "entity.deleted", metadata: { mentions: [mara] } });

    expect(route(happened, [pipeline("traits", trigger)])).toMatchObject([mara]);
  });

  test("are nobody where metadata says something else by that name", () => {
    for (const mentions of [undefined, "Mara", [{ who: "Mara" }], 3]) {
      expect(route(event({ metadata: { mentions } }), [pipeline("traits", trigger)])).toEqual([]);
    }
  });
});

test("is pure: the same event, pipelines and flags give the same runs, and nothing is changed", () => {
  const pipelines = [
    pipeline("one", { on: "entity.ingested", types: ["scene"] }),
    pipeline("two", { on: "entity.changed", flag: "two" }),
    pipeline("three", { on: "entity.ingested", when: ({ order }) => order === 1 }),
  ];
  const happened = fc.record({
    event: fc.constantFrom(...runtimeEvents),
    tenant_id: fc.uuid(),
    source_type: fc.constantFrom(...sourceTypes),
    source_id: fc.uuid(),
    version: fc.integer({ min: 1 }),
    metadata: fc.record({ order: fc.integer({ min: 0, max: 2 }) }),
  });
  fc.assert(
    fc.property(happened, fc.record({ two: fc.boolean() }), (given, flags) => {
      const before = structuredClone(given);
      expect(route(given, pipelines, flags)).toEqual(route(structuredClone(given), pipelines, flags));
      expect(given).toEqual(before);
    }),
  );
});
