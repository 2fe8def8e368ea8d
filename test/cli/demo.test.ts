import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { z } from "zod";
import { many } from "../../src/db.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { SourceType } from "../../src/pipeline.ts";
import { emptyFolder, fileInTest, run, startInTest } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { request } from "../support/ledger.ts";
import { freshHome } from "../support/postgres.ts";

const world = fileURLToPath(new URL("../../examples/seven-bells.jsonl", import.meta.url));

test("brings its own database, can be interrupted, shows what it learnt, and then finds nothing to do", async () => {
  const [home, folder] = [await freshHome(), await emptyFolder()];
  onTestFinished(async () => {
    await rm(home, { recursive: true });
    await rm(folder, { recursive: true });
  });
  const settings = { LOREGRAPH_HOME: home };
  const interrupted = startInTest(["demo"], settings, folder);
  await interrupted.until(/importing 46\/46 entities\n/);
  interrupted.kill("SIGINT");
  expect(await interrupted.ended).toMatchObject({
    code: 130,
    out: "",
    err: expect.stringMatching(/\nerror: interrupted; the same command goes on from here\n$/),
  });
  expect(serverRuns(home)).toBe(false);

  const first = await run(["demo"], settings, folder);
  const second = await run(["demo"], settings, folder);

  expect(first).toMatchObject({ code: 0 });
  expect(interrupted.errors()).toMatch(/^making an embedded PostgreSQL in /);
  expect(first.err).toMatch(/\nenriching (\d+)\/\1 runs\n$/);
  expect(first.out).toMatch(/\n {2}The Bell That Would Not Ring {2,}[▁-█]+ {2,}\w+ {2,}“.+”\n/);
  expect(first.out).toMatch(
    /\n {2}Pip Dunmallow\n {4}reckless\n {6}“.*reckless.*” {2}The Bell That Would Not Ring\n/,
  );
  expect(first.out).not.toContain("\u001b");
  for (const line of first.out.split("\n")) expect(line.length).toBeLessThanOrEqual(100);

  expect(second).toMatchObject({ code: 0 });
  expect(second.out).toContain(
    "nothing had changed since the last time: no model or embedding call was made",
  );
  expect(learnt(second.out)).toBe(learnt(first.out));
  expect(serverRuns(home)).toBe(false);
}, 90_000); // it makes a Postgres of its own, and three processes start

const serverRuns = (home: string) => existsSync(join(home, "postgres/data/postmaster.pid"));

/** The part of the report about scenes and characters. */
const learnt = (out: string) => out.slice(out.indexOf("How each scene"), out.indexOf("What it took"));

const Report = z.object({
  used: z.object({ runs: z.int(), failed: z.int(), model_calls: z.int(), embedding_calls: z.int() }),
  scenes: z.array(z.object({ title: z.string(), mood: z.string().nullable() })),
  characters: z.array(z.object({ name: z.string(), traits: z.array(z.object({ trait: z.string() })) })),
});

describe("the demo's world", () => {
  let database: TestDatabase;
  let settings: Record<string, string>;
  const tenant = randomUUID();

  beforeAll(async () => {
    database = await testDatabase();
    settings = { DATABASE_URL: database.url };
  });

  test("is told in exactly one line of JSON, with what an earlier, interrupted demo had left to do", async () => {
    await run(["import", world, "--tenant", tenant], settings);
    const first = await run(["demo", "--json", "--tenant", tenant], settings);
    const second = await run(["demo", "--json", "--tenant", tenant], settings);
    const report = Report.parse(JSON.parse(first.out));
    const again = Report.parse(JSON.parse(second.out));

    expect(first).toMatchObject({ code: 0, out: expect.stringMatching(/^\{.*\}\n$/) });
    expect(report.used).toMatchObject({ failed: 0, model_calls: 0 });
    expect(report.used.embedding_calls).toBeGreaterThan(40);
    expect(report.scenes).toHaveLength(12);
    expect(report.characters).toHaveLength(6);
    expect(again.used).toEqual({ runs: 0, failed: 0, model_calls: 0, embedding_calls: 0 });
    expect([again.scenes, again.characters]).toEqual([report.scenes, report.characters]);
  }, 90_000);

  test("gives its characters traits that another reading leaves as they are", async () => {
    const before = await traitsOf(tenant);
    expect(before).toHaveLength(6);
    await database.pool.query(
      "update enrichments set input_hash = 'stale' where tenant_id = $1 and pipeline = 'character-traits'",
      [tenant],
    );
    const pipeline = "character-traits";
    const characters = before.map(({ source_type, source_id }) =>
      request({ tenant_id: tenant, source_type, source_id, pipeline }),
    );
    await enqueueRuns(database.pool, characters);
    const said = await run(["worker", "--until-idle", "--json"], settings);

    expect(JSON.parse(said.out).ended).toEqual({ answered: 6 });
    expect(await traitsOf(tenant)).toEqual(before);
  });

  test("gives them the same traits in whatever order its entities come and are read", async () => {
    const backwards = (await readFile(world, "utf8")).trim().split("\n").toReversed();
    const other = randomUUID();
    const path = await fileInTest("world.jsonl", backwards.slice(0, 20).join("\n"));
    for (const lines of [backwards.slice(0, 20), backwards]) {
      await writeFile(path, lines.join("\n"));
      expect((await run(["import", path, "--tenant", other], settings)).code).toBe(0);
      expect((await run(["worker", "--until-idle", "--concurrency", "1"], settings)).code).toBe(0);
    }

    expect(await traitsOf(other)).toEqual(await traitsOf(tenant));
  });

  async function traitsOf(tenant_id: string) {
    return await many(
      database.pool,
      z.object({ source_type: SourceType, source_id: z.uuid(), output: z.unknown() }),
      `select source_type, source_id, output from enrichments
       where tenant_id = $1 and pipeline = 'character-traits' order by source_id`,
      [tenant_id],
    );
  }
});
