/** The commands that only look: status, runs, show, search, graph. */

import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { failAttempt } from "../../src/ledger/attempt.ts";
import type { ClaimedRun } from "../../src/ledger/run.ts";
import { noUsage } from "../../src/pipeline.ts";
import { type EntityKey, upsertEntities } from "../../src/store/entities.ts";
import { fileInTest, run, type Said } from "../support/cli.ts";
import { storeScene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { claimed } from "../support/ledger.ts";

let database: TestDatabase;
let settings: Record<string, string>;
let weir: EntityKey;
let lost: ClaimedRun;
const tenant = randomUUID();

beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
  const { pool } = database;
  weir = await storeScene(pool, tenant, ["The keeper walked the wall and counted the lamps."], {
    title: "The Weir",
  });
  await storeScene(pool, tenant, ["La gardienne fermait les écluses et comptait les lampes."], {
    title: "L'écluse",
    language: "fr",
  });
  await storeScene(pool, tenant, ["守坝人关上闸门，数了数岸上的灯。"], { title: "水坝", language: "zh" });
  await storeScene(
    pool,
    tenant,
    ["Nobody went near the weir before the thaw, and the weir was glad of it."],
    {
      title: "Thaw",
    },
  );
  const failure = {
    code: "GRAPH_FAILED",
    message: "the reader lost its place",
    retryInMs: null,
    counts: true,
  };
  lost = await claimed(pool, { ...weir, pipeline: "dialog-mood" });
  await failAttempt(pool, lost, { ...failure, usage: { ...noUsage, model_calls: 2, cost_usd: 0.0123 } });
});

const lore = (...args: string[]): Promise<Said> => run(args, settings);
const json = async (...args: string[]) => {
  const said = await lore(...args, "--json");
  expect(said).toMatchObject({ code: 0, err: "", out: expect.stringMatching(/^[{[].*[}\]]\n$/) });
  return JSON.parse(said.out);
};

describe("status", () => {
  test("tells on lines of a terminal's width what there is, what failed, why, and what it cost", async () => {
    const { code, out } = await lore("status", "--tenant", tenant);

    expect(code).toBe(0);
    expect(out).toMatch(/\nscene {5,}4 {2,}\d+\n/);
    expect(out).toMatch(/\ndialog-mood {2,}1 failed {2,}2 {2,}0 {2,}0 {2,}\$0\.01\n/);
    expect(out).toContain("0 pending, 0 running, 0 workers");
    expect(out).toContain("1 of dialog-mood: GRAPH_FAILED\n    the reader lost its place");
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
  });

  test("gives programs the same in JSON", async () => {
    expect(await json("status")).toMatchObject({
      tenant_id: null,
      entities: [{ source_type: "scene", entities: 4 }],
      runs: [{ pipeline: "dialog-mood", status: "failed", runs: 1, model_calls: 2, cost_usd: 0.0123 }],
      pending: 0,
      running: 0,
      dead_letters: [{ pipeline: "dialog-mood", error_code: "GRAPH_FAILED", runs: 1 }],
      workers: [],
    });
  });

  test("says how to begin where there is nothing", async () => {
    const { out } = await lore("status", "--tenant", randomUUID());
    expect(out).toBe("nothing has been imported yet; try `npx loregraph demo`\n");
  });
});

describe("runs", () => {
  test("tells of a failed one which it was and why", async () => {
    const { out } = await lore("runs", "--status", "failed", "--entity", weir.source_id);
    expect(out.split("\n").slice(1)).toEqual([
      expect.stringMatching(
        new RegExp(`^dialog-mood +failed +1/3 +\\d+ s +\\$0\\.01 +scene ${weir.source_id}$`),
      ),
      expect.stringMatching(/^ {2}run [0-9a-f-]{36}$/),
      "  GRAPH_FAILED: the reader lost its place",
      "",
    ]);
  });

  test("are whole in JSON", async () => {
    expect(await json("runs", "--tenant", tenant, "--limit", "1")).toEqual([
      expect.objectContaining({
        tenant_id: tenant,
        source_id: weir.source_id,
        pipeline: "dialog-mood",
        status: "failed",
        errors: [expect.objectContaining({ attempt: 1, code: "GRAPH_FAILED" })],
        cost_usd: 0.0123,
      }),
    ]);
  });

  test("of no such pipeline are not silently none", async () => {
    expect(await lore("runs", "--pipeline", "dialog-mod")).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining("unknown pipeline dialog-mod, did you mean dialog-mood?"),
    });
    expect(await lore("runs", "--pipeline", "character-traits")).toMatchObject({ code: 0, out: "no runs\n" });
  });
});

describe("show", () => {
  test("tells all that is known of an entity", async () => {
    const { code, out } = await lore("show", weir.source_id);
    expect(code).toBe(0);
    expect(out).toContain(
      `scene ${weir.source_id}, version 1, tenant ${tenant}\n\nThe Weir\nThe keeper walked`,
    );
    expect(out).toContain("document: narration, language en, 1 chunks by tiny");
    expect(out).toMatch(/runs:\npipeline +ended +attempts +run\ndialog-mood +failed +1 +[0-9a-f-]{36}/);
  });

  test("gives programs its parts in JSON", async () => {
    expect(await json("show", weir.source_id)).toMatchObject({
      entity: { ...weir, version: 1, title: "The Weir" },
      document: { kind: "narration", language: "en" },
      chunks: [{ text: "The keeper walked the wall and counted the lamps." }],
      enrichments: [],
      events: [],
      children: [],
      runs: [{ pipeline: "dialog-mood", status: "failed" }],
    });
  });

  test("asks for the tenant where several have an entity of this id", async () => {
    const [id, others] = [randomUUID(), [randomUUID(), randomUUID()]];
    const entity = { source_type: "lore", source_id: id, title: "Theirs", text: "", metadata: {} } as const;
    for (const other of others) await upsertEntities(database.pool, other, "test", [entity]);

    expect(await lore("show", id)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringMatching(/several tenants have an entity .*; name one by --tenant/),
    });
    expect((await json("show", id, "--tenant", others[1] ?? "")).entity.tenant_id).toBe(others[1]);
  });

  test("does not find what is not there", async () => {
    expect(await lore("show", randomUUID())).toMatchObject({
      code: 2,
      err: expect.stringContaining("NOT_FOUND"),
    });
    expect(await lore("show", "the-weir")).toMatchObject({
      code: 2,
      err: expect.stringContaining("expected the entity's id to be a uuid, got: the-weir"),
    });
  });
});

describe("search", () => {
  const titles = async (words: string) =>
    (await json("search", words, "--tenant", tenant)).map(({ title }: { title: string }) => title);

  test("puts a heading above a text that says the word more often", async () => {
    expect(await titles("weir")).toEqual(["The Weir", "Thaw"]);
  });

  test.each([
    ["a French word in another form", "écluse", ["L'écluse"]],
    ["a Chinese word", "闸门", ["水坝"]],
    ["a phrase", '"counted the lamps"', ["The Weir"]],
    ["nothing", "harbour", []],
  ])("finds %s", async (_, words, found) => {
    expect(await titles(words)).toEqual(found);
  });

  test("marks the words where they stand and says where that is", async () => {
    const { out } = await lore("search", "lamps", "--tenant", tenant, "--limit", "1");
    expect(out).toBe(
      `The Weir\n  The keeper walked the wall and counted the «lamps».\n  scene ${weir.source_id}, characters 0 to 49\n`,
    );
  });
});

describe("graph", () => {
  test("is Mermaid, and needs no database", async () => {
    const away = { DATABASE_URL: "postgres://nobody@127.0.0.1:1/nothing" };
    const drawn = await run(["graph", "dialog-mood"], away);
    const told = await run(["graph", "dialog-mood", "--json"], away);

    expect(drawn).toMatchObject({ code: 0, out: expect.stringMatching(/graph TD;[\s\S]*__start__/) });
    expect(JSON.parse(told.out)).toEqual({
      pipeline: "dialog-mood",
      version: 1,
      mermaid: drawn.out,
    });
  });

  test("is SVG where that is asked for, in a file where one is named", async () => {
    const file = await fileInTest("mood.svg", "");
    const written = await run(["graph", "dialog-mood", "--svg", "--out", file], {});
    const printed = await run(["graph", "dialog-mood", "--format", "svg"], {});

    expect(written).toEqual({ code: 0, out: `${file}\n`, err: "" });
    expect(await readFile(file, "utf8")).toBe(printed.out);
    expect(printed.out).toMatch(/^<svg xmlns=[\s\S]*class="conditional"[\s\S]*<\/svg>\n$/);
  });

  test("of no such pipeline is wrong use", async () => {
    expect(await run(["graph", "dialog-mod"], {})).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining("did you mean dialog-mood?"),
    });
  });
});

describe("dead-letters", () => {
  test("are listed by cause, and tried again on demand", async () => {
    expect((await lore("dead-letters", "list")).out).toMatch(
      /\ndialog-mood {2,}GRAPH_FAILED {2,}1 {2,}the reader lost its place/,
    );

    expect(await json("dead-letters", "redrive", "--cause", "MODEL_REFUSED")).toEqual({ redriven: 0 });
    expect(await json("dead-letters", "redrive", "--pipeline", "dialog-mood")).toEqual({ redriven: 1 });
    expect((await lore("dead-letters", "list")).out).toBe("no dead letters\n");
  });
});

describe("checkpoints", () => {
  test("tells what they take up, by pipeline and by run, and when that is freed", async () => {
    const thread_id = lost.id;
    const { pool } = database;
    await pool.query(
      "insert into checkpoints (thread_id, checkpoint_id, checkpoint) values ($1, 'c', $2), ('a thread of nobody', 'c', '{}')",
      [thread_id, JSON.stringify({ text: "a".repeat(1_000) })],
    );
    const { out } = await lore("checkpoints");
    const answer = await json("checkpoints", "--pipeline", "dialog-mood");
    await pool.query("truncate checkpoints");

    expect(out).toMatch(/\ndialog-mood +1 +0 +1 +[\d.]+ k?B +0 B +0 B +[\d.]+ k?B\n/);
    expect(out).toMatch(/\n\(no run\) +1 +0 +1 /);
    expect(out).toMatch(
      new RegExp(`\n${thread_id} +dialog-mood +(failed|pending) +1 +.+ +not while (failed|pending)`),
    );
    expect(answer).toEqual({
      pipelines: [
        expect.objectContaining({ pipeline: "dialog-mood", runs: 1, checkpoints: 1, due_bytes: 0 }),
      ],
      runs: [expect.objectContaining({ thread_id, due_at: null })],
    });
  });

  test("says so where there are none, and knows a pipeline that is misspelt", async () => {
    expect(await lore("checkpoints")).toMatchObject({
      code: 0,
      out: "no checkpoints: quick runs leave none\n",
    });
    expect(await lore("checkpoints", "--pipeline", "dialog-mod")).toMatchObject({
      code: 2,
      err: expect.stringContaining("did you mean dialog-mood?"),
    });
  });
});
