import { describe, expect, test } from "vitest";
import { type Pipeline, sourceTypes } from "../../src/pipeline.ts";
import { ReingestRequest, understood } from "../../src/reingest/request.ts";
import { echo, plainBase } from "../support/pipelines.ts";

const mood = echo(() => ({ said: "" }), {
  name: "mood",
  trigger: { on: "entity.ingested", types: ["scene", "beat"] },
});
const traits = echo(() => ({ said: "" }), { name: "traits" });
const registry = new Map<string, Pipeline>(
  [plainBase, mood, traits].map((pipeline) => [pipeline.name, pipeline]),
);

const understand = (given: unknown) => understood(registry, ReingestRequest.parse(given));

describe("a request", () => {
  test("is understood with its defaults", () => {
    expect(understand({})).toEqual({
      types: sourceTypes.toSorted(),
      pipelines: ["base"],
      batch_size: 100,
      dry_run: false,
      force: false,
      priority: -100,
      source: "local",
    });
  });

  test("is understood the same when it is understood again", () => {
    const filters = understand({
      types: ["scene"],
      pipelines: ["mood"],
      ids: [id],
      only: "stale",
      max_tokens: 5,
    });

    expect(understood(registry, ReingestRequest.parse(JSON.parse(JSON.stringify(filters))))).toEqual(filters);
  });

  test("names each type, pipeline and entity once", () => {
    const filters = understand({
      types: ["scene", "beat", "scene"],
      pipelines: ["traits", "mood", "mood"],
      ids: [id, id],
    });

    expect(filters).toMatchObject({ types: ["beat", "scene"], pipelines: ["mood", "traits"], ids: [id] });
  });

  test("takes ids in capitals for the same", () => {
    expect(understand({ ids: [id.toUpperCase(), id] }).ids).toEqual([id]);
  });
});

const id = "0e5a3a1e-6a7e-4f0e-8b2f-1c9f5b3d7a11";

describe("a request for what is older", () => {
  test("takes a version for one of stale outputs", () => {
    expect(understand({ pipelines: ["mood"], stale_version: 1 })).toMatchObject({
      only: "stale",
      stale_version: 1,
    });
  });

  test("runs what other code made, for which nothing would run by itself", () => {
    expect(understand({ only: "recoded" })).toMatchObject({ force: true });
  });
});

describe("a request is refused", () => {
  test.each([
    [
      { pipelines: ["moods"] },
      /^expected pipelines to be of base, mood, traits, got: "moods"; did you mean mood\?$/,
    ],
    [{ pipelines: ["zzzzzz"] }, /^expected pipelines to be of base, mood, traits, got: "zzzzzz"$/],
    [
      { pipelines: ["traits", "base", "mood"] },
      /expected pipelines to be base alone .* got: base with mood, traits/,
    ],
    [{ pipelines: ["mood"], types: ["lore"] }, /^mood runs on scene, beat; types names none of them$/],
    [{ force: true, only: "missing" }, /force adds nothing to only: missing/],
    [{ only: "failed", stale_version: 1 }, /stale_version chooses among stale outputs, got only: failed/],
    [
      { pipelines: ["mood", "traits"], stale_version: 1 },
      /stale_version with one pipeline, got: mood, traits/,
    ],
  ])("for what it asks: %j", (given, message) => {
    expect(() => understand(given)).toThrow(
      expect.objectContaining({ code: "INPUT_INVALID", message: expect.stringMatching(message) }),
    );
  });

  test.each([
    { tenant_id: id },
    { types: [] },
    { types: ["novel"] },
    { pipelines: [] },
    { batch_size: 0 },
    { batch_size: 5_001 },
    { batch_size: 1.5 },
    { priority: 32_768 },
    { max_cost_usd: 0 },
    { max_cost_usd: Number.POSITIVE_INFINITY },
    { max_cost_usd: 1e-12 },
    { max_tokens: 2 ** 53 },
    { max_runs_per_minute: 2 ** 31 },
    { changed_since: "yesterday" },
    { changed_since: "0000-01-01T00:00:00Z" },
    { changed_since: "9999-12-31T23:59:59-23:00" },
    { ids: ["x"] },
    { only: "fresh" },
    { stale_version: 0 },
    { stale_version: 1.5 },
    { stale_version: 2 ** 31 },
    { source: "elsewhere" },
    { force: "true" },
  ])("for its shape: %j", (given) => {
    expect(ReingestRequest.safeParse(given).success).toBe(false);
  });

  test("for more than ten thousand ids", () => {
    expect(ReingestRequest.safeParse({ ids: Array(10_000).fill(id) }).success).toBe(true);
    expect(ReingestRequest.safeParse({ ids: Array(10_001).fill(id) }).success).toBe(false);
  });
});
