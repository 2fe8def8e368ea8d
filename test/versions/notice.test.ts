import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Pipeline } from "../../src/pipeline.ts";
import { noticeVersions } from "../../src/versions/notice.ts";
import { acceptVersion, listUnaccepted } from "../../src/versions/recorded.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo, type Given } from "../support/pipelines.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => database.pool.query("truncate pipeline_versions"));

/** A pipeline whose graph.ts is this; its pipeline.ts is always the same. */
function coded(graph: string, { form = "ts", ...given }: Given & { form?: string } = {}): Pipeline {
  const fingerprint = `${form}-${graph.padEnd(64, "0")}`;
  const files = { "graph.ts": graph, "pipeline.ts": "same" };
  return { ...echo(() => ({ said: "" }), given), code: { folder: "/graphs/echo", fingerprint, files } };
}

/** What a worker that runs these pipelines warns of, when it starts. */
async function warnings(...pipelines: readonly Pipeline[]) {
  const said: unknown[] = [];
  const log = { warn: (what: object, name: string) => void said.push({ name, ...what }) };
  await noticeVersions({ pool: database.pool, log: log as never }, pipelines);
  return said;
}

describe("a worker that starts", () => {
  test("takes the first code of a version for that version, and says nothing of it again", async () => {
    expect(await warnings(coded("a"))).toEqual([]);
    expect(await warnings(coded("a"))).toEqual([]);
    expect(await listUnaccepted(database.pool)).toEqual([]);
  });

  test("warns of other code under the same version, names the files, and says what to do", async () => {
    await warnings(coded("a"));

    expect(await warnings(coded("b"))).toEqual([
      {
        name: "pipeline-changed-without-version",
        pipeline: "echo",
        version: 1,
        files: ["graph.ts"],
        solve: expect.stringMatching(
          /echo changed since version 1 .*\(graph.ts\).*version to 2 .*--accept echo/,
        ),
      },
    ]);
    expect(await listUnaccepted(database.pool)).toMatchObject([{ pipeline: "echo", version: 1 }]);
  });

  test("says nothing once the version was raised, and nothing is left to be accepted", async () => {
    await warnings(coded("a"));
    await warnings(coded("b"));

    expect(await warnings(coded("b", { version: 2 }))).toEqual([]);
    expect(await listUnaccepted(database.pool)).toEqual([]);
  });

  test("says nothing once a person accepted the change, nor of the code before", async () => {
    await warnings(coded("a"));
    await warnings(coded("b"));
    await acceptVersion(database.pool, coded("b"));

    expect(await warnings(coded("b"))).toEqual([]);
    expect(await warnings(coded("a"))).toEqual([]);
    expect(await warnings(coded("c"))).toMatchObject([{ files: ["graph.ts"] }]);
  });

  test("takes what was built for no change of its source", async () => {
    await warnings(coded("a"));

    expect(await warnings(coded("d", { form: "js" }))).toEqual([]);
    expect(await warnings(coded("e", { form: "js" }))).toHaveLength(1);
  });

  test("is the only one that is first, of several that start together with other code", async () => {
    await Promise.all(["a", "b", "c", "d"].map((graph) => warnings(coded(graph))));
    const { rows } = await database.pool.query(
      "select count(*)::integer as codes, count(accepted_at)::integer as accepted from pipeline_versions",
    );

    expect(rows).toEqual([{ codes: 4, accepted: 1 }]);
  });

  test("notes nothing of a pipeline that comes from no folder", async () => {
    expect(await warnings(echo(() => ({ said: "" })))).toEqual([]);
    expect((await database.pool.query("select from pipeline_versions")).rowCount).toBe(0);
  });
});
