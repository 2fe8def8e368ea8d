/** What show and explain tell of a path that was really run, by the project's own graphs. */

import { randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { emptyFolder, run, type Said } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

vi.setConfig({ testTimeout: 120_000 }); // processes, on a machine that may be busy

let database: TestDatabase;
let settings: Record<string, string>;
const [tenant, scene, mara] = [randomUUID(), randomUUID(), randomUUID()];

const text = [
  "The lamps were out when Mara came down to the pier.",
  "",
  "“I hate you,” said Mara. “You liar, you coward, I hate you!”",
  "“Get out of here,” he shouted angrily.",
  "",
  "Mara was brave. She had always been kind to the keeper.",
].join("\n");

beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
  const folder = await emptyFolder();
  const entities = [
    { source_type: "character", source_id: mara, title: "Mara", text: "Role: the harbour master" },
    { source_type: "scene", source_id: scene, title: "The pier", text },
  ];
  const file = join(folder, "pier.jsonl");
  await writeFile(file, entities.map((entity) => JSON.stringify(entity)).join("\n"));
  expect(await lore("import", file, "--tenant", tenant)).toMatchObject({ code: 0 });
  expect(await lore("worker", "--until-idle")).toMatchObject({ code: 0 });
}, 120_000);

const lore = (...args: string[]): Promise<Said> => run(args, settings);
const json = async (...args: string[]) => {
  const { code, out, err } = await lore(...args, "--json");
  expect({ code, err }).toEqual({ code: 0, err: "" });
  return JSON.parse(out);
};

type Evidence = {
  quote: string;
  source_id: string;
  start: number;
  end: number;
  line: number;
  context: string;
};

describe("show", () => {
  test("tells where each sentence of evidence stands in the text", async () => {
    const { enrichments } = await json("show", scene);
    const mood = enrichments.find(({ pipeline }: { pipeline: string }) => pipeline === "dialog-mood");

    expect(mood.evidence.length).toBeGreaterThan(0);
    for (const { quote, start, end, line, context } of mood.evidence as Evidence[]) {
      expect(text.slice(start, end)).toBe(quote);
      expect(text.split("\n")[line - 1]).toContain(quote);
      expect(context).toContain(`«${quote}»`);
    }
    const [first] = mood.evidence;
    expect(first).toMatchObject({ at: "evidence", stands: true, path: "The pier", title: "The pier" });
    const { out } = await lore("show", scene);
    expect(out).toContain(
      `  “${first.quote}”, The pier, line ${first.line}, characters ${first.start} to ${first.end}\n`,
    );
    expect(out).toContain(`    ${first.context}\n`);
  });

  test("finds the evidence of a character's traits in the scenes that show them", async () => {
    const { enrichments } = await json("show", mara);
    const [{ evidence }] = enrichments;

    expect(evidence.length).toBeGreaterThan(0);
    expect(new Set(evidence.map(({ source_id }: Evidence) => source_id))).toEqual(new Set([scene]));
    for (const { quote, start, end } of evidence as Evidence[]) expect(text.slice(start, end)).toBe(quote);
    expect((await lore("show", mara)).out).toMatch(
      new RegExp(`, scene ${scene}, The pier, line \\d+, characters`),
    );
  });
});

describe("explain", () => {
  test("goes from an output to the run, its event, the base run and the change of content", async () => {
    const [explained] = await json("explain", scene, "dialog-mood");

    expect(explained).toMatchObject({
      ...{ pipeline: "dialog-mood", stale: [], entity: { source_id: scene, version: 1 } },
      output: { source_version: 1, run_id: explained.chain[0].run.id },
      chain: [
        { run: { pipeline: "dialog-mood", status: "success", cause: { event: "entity.ingested" } } },
        {
          run: {
            pipeline: "base",
            status: "success",
            cause: { event: "entity.changed" },
            parent_run_id: null,
          },
        },
      ],
    });
    expect(explained.chain[0].run.parent_run_id).toBe(explained.chain[1].run.id);
    const { out } = await lore("explain", scene, "dialog-mood");
    expect(out).toMatch(/^dialog-mood of scene .*“The pier”\noutput +\w+, of version 1, \d+ s old\n/);
    expect(out).toMatch(
      /\n {2}nodes +.*kept; checkpoints: { history: true } in its pipeline keeps them all\n/,
    );
    expect(out).toMatch(/\nbefore +base completed, /);
  });

  test("explains all outputs of an entity, and a run by its id", async () => {
    const all = await json("explain", scene);
    expect(all.map(({ pipeline }: { pipeline: string }) => pipeline)).toEqual(
      expect.arrayContaining(["base", "dialog-mood"]),
    );
    const { id } = all[0].chain[0].run;
    const [same] = await json("explain", id);
    expect(same.chain[0].run.id).toBe(id);
    expect(same.output.run_id).toBe(id);
  });

  test("says why an output is stale", async () => {
    const before = "update entities set text = text || ' It rained.', version = 2 where source_id = $1";
    await database.pool.query(before, [scene]);
    const [explained] = await json("explain", scene, "dialog-mood");
    await database.pool.query("update entities set text = $2, version = 1 where source_id = $1", [
      scene,
      text,
    ]);

    expect(explained.stale).toEqual(["what it reads has changed (version 1, now 2)"]);
  });

  test("of what is not there says so", async () => {
    expect(await lore("explain", randomUUID())).toMatchObject({
      code: 2,
      err: expect.stringContaining("neither an entity nor a run"),
    });
    expect(await lore("explain", scene, "dialog-mod")).toMatchObject({
      code: 2,
      err: expect.stringContaining("did you mean dialog-mood?"),
    });
    expect(await lore("explain", mara, "dialog-mood")).toMatchObject({
      code: 2,
      err: expect.stringContaining("stored nothing about it yet"),
    });
  });
});
