import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { loadRegistry } from "../../src/registry.ts";
import { run } from "../support/cli.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { projectInTest, saying } from "../support/projects.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

const example = JSON.stringify({ input: { text: "It rained." }, expected: { said: "rain" } });

async function project(word = "one") {
  const graphs = { echo: "./graphs/echo/pipeline.ts:default" };
  const made = await projectInTest(graphs, { "graphs/echo/pipeline.ts": saying(word) });
  await made.write("graphs/echo/examples.jsonl", `${example}\n`);
  const home = { LOREGRAPH_GRAPHS: made.registry, LOREGRAPH_HOME: made.folder };
  const settings = { ...home, DATABASE_URL: database.url };
  return { ...made, home, settings };
}

describe("check", { timeout: 60_000 }, () => {
  test("finds all that is shipped sound, without a database", async () => {
    const { home } = await project();
    const { LOREGRAPH_HOME } = home;
    const { code, out, err } = await run(["check", "--json"], { LOREGRAPH_HOME }, process.cwd());

    expect({ code, err }).toEqual({ code: 0, err: "" });
    const { ok, database, pipelines } = JSON.parse(out);
    expect({ ok, database }).toEqual({ ok: true, database: false });
    expect(pipelines.map(({ name }: { name: string }) => name)).toContain("dialog-mood");
    expect(pipelines.flatMap(({ findings }: { findings: unknown[] }) => findings)).toEqual([]);
  });

  test("names what is wrong with a graph, its examples and its output, and ends with 1", async () => {
    const broken = await project();
    await broken.change(
      "graphs/echo/pipeline.ts",
      `export default definePipeline({
         name: "echo", version: 1, local: "word", trigger: { on: "entity.ingested" },
         output: z.object({ said: z.date() }),
         graph: ({ model }) => { model.withStructuredOutput(z.object({})); return { compile() {} }; },
       });`,
    );
    await broken.write("graphs/echo/examples.jsonl", `${example}\n{"expected": {"mood": 1}}\n{"expec\n`);
    const { code, out } = await run(["check"], broken.home);

    expect(code).toBe(1);
    expect(out).toContain("echo 1: not sound");
    expect(out).toContain("cannot be compiled without a chat model, though it names a local branch");
    expect(out).toContain("its output cannot be told as JSON Schema");
    expect(out).toContain("examples.jsonl, line 2: its output has no field mood");
    expect(out).toContain("examples.jsonl, line 3");
    expect(out).not.toContain("examples.jsonl, line 1");
    expect(out).toContain("no database answers");
  });

  test("says which files changed since a worker ran the version, until that is accepted", async () => {
    const { settings, change, registry } = await project();
    const worked = await run(["worker", "--until-idle"], settings);
    await change("graphs/echo/pipeline.ts", saying("two"));
    const changed = await run(["check"], settings);
    const again = await run(["worker", "--until-idle"], { ...settings, LOREGRAPH_LOG_LEVEL: "warn" });
    const told = await run(["status"], settings);
    const accepted = await run(["check", "--accept", "echo"], settings);
    const toldLater = await run(["status"], settings);

    expect(worked.code).toBe(0);
    expect(changed).toMatchObject({ code: 1, out: expect.stringContaining("not sound") });
    expect(changed.out).toContain(
      "echo changed since version 1 was first run (pipeline.ts): raise its version to 2 if its answers change",
    );
    expect(again.err).toContain("pipeline-changed-without-version");
    expect(told.out).toMatch(/changed without a new version.*\n {2}echo, version 1, since/);
    expect(accepted).toMatchObject({ code: 0, out: expect.stringMatching(/^echo answers as before/) });
    expect(toldLater.out).not.toContain("changed without");
    expect(registry).toContain("langgraph.json");
  });

  test("accepts nothing where it could not be kept, and no pipeline that is none", async () => {
    const { home, settings } = await project();
    const [nowhere, unknown] = await Promise.all([
      run(["check", "--accept", "echo"], home),
      run(["check", "--accept", "ecco"], settings),
    ]);

    expect(nowhere).toMatchObject({ code: 4, err: expect.stringContaining("kept in the database") });
    expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining("did you mean echo?") });
  });
});

test("status --stale tells what made the outputs, and reingest makes the older ones anew", {
  timeout: 90_000,
}, async () => {
  const { settings, change, registry } = await project("first");
  const tenant_id = randomUUID();
  const entities = [scene(), scene({ title: "The weir" })];
  await acceptEntities(database.pool, await loadRegistry(registry), { tenant_id, source: "test", entities });
  await run(["worker", "--until-idle"], settings);
  await change("graphs/echo/pipeline.ts", saying("second", { version: 2 }));
  const of = ["--tenant", tenant_id, "--json"];
  const stale = await run(["status", "--stale", ...of], settings);
  const plan = await run(["reingest", "--stale", "--dry-run", ...of], settings);
  const only = ["--pipelines", "echo", "--stale-version", "1"];
  const started = await run(["reingest", ...only, ...of], settings);
  await run(["worker", "--until-idle"], settings);
  const after = await run(["status", "--stale", "--pipeline", "echo", ...of], settings);

  expect(JSON.parse(stale.out)).toMatchObject({
    stale: 2,
    recoded: 0,
    stamps: [
      { pipeline: "base", pipeline_version: 1, outputs: 2, standing: "current" },
      { pipeline: "echo", pipeline_version: 1, model: "word", outputs: 2, standing: "stale" },
    ],
  });
  expect(JSON.parse(plan.out).totals).toMatchObject({ run: 2, pairs: 2 });
  expect(JSON.parse(started.out)).toMatchObject({
    counts: { run: 2 },
    filters: { only: "stale", stale_version: 1, pipelines: ["echo"] },
  });
  expect(JSON.parse(after.out)).toMatchObject({
    stale: 0,
    stamps: [{ pipeline: "echo", pipeline_version: 2, outputs: 2, standing: "current" }],
  });
});
