/** Two workers with different code, as in the middle of a deployment: each a process with graphs of its own. */
import { randomUUID } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { maybeOne } from "../../src/db.ts";
import { acceptEntities } from "../../src/intake.ts";
import { loadRegistry } from "../../src/registry.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import { startInTest } from "../support/cli.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { projectInTest } from "../support/projects.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

/** Says `word`, in a first step that takes long enough to be saved, then ends; or hangs before that. */
const twoSteps = (word: string, hangs: boolean, log: string) => `
const Said = z.object({ said: z.string() });
const State = Entity.extend(Said.shape);
export default definePipeline({
  name: "echo", version: 1, local: "word", trigger: { on: "entity.ingested" }, output: Said,
  graph: () => new StateGraph({ state: State, input: Entity, output: Said })
    .addNode("first", async () => {
      appendFileSync(${JSON.stringify(log)}, "${word}\\n");
      await new Promise((resolve) => setTimeout(resolve, 150));
      return { said: "${word}" };
    })
    .addNode("last", async ({ said }) => {
      ${hangs ? "await new Promise(() => setInterval(() => {}, 1_000));" : ""}
      return { said: said + " then ${word}" };
    })
    .addEdge(START, "first").addEdge("first", "last").addEdge("last", END),
});`;

async function killedHalfWay(word: string) {
  const project = await projectInTest({ echo: "./graphs/echo/pipeline.ts:default" }, {});
  const log = join(project.folder, "steps.log");
  const settings = {
    DATABASE_URL: database.url,
    LOREGRAPH_GRAPHS: project.registry,
    LOREGRAPH_LEASE_MS: "1000",
  };
  // Whether it hangs is no difference of code: both files are there from the start.
  const entry = (file: string) => project.name({ echo: `./graphs/echo/${file}:default` });
  await project.change("graphs/echo/hangs.ts", twoSteps(word, true, log));
  await project.change("graphs/echo/ends.ts", twoSteps(word, false, log));
  await entry("hangs.ts");
  const given = scene();
  const tenant_id = randomUUID();
  await acceptEntities(database.pool, await loadRegistry(project.registry), {
    tenant_id,
    source: "test",
    entities: [given],
  });
  const first = startInTest(["worker", "--concurrency", "2"], settings);
  await vi.waitUntil(() => isHalfWay(tenant_id), { timeout: 30_000 });
  first.kill("SIGKILL");
  await first.ended;
  await entry("ends.ts");
  return {
    ...project,
    log,
    /** Lets another worker do the rest, and answers what was said in the end. */
    async goOn() {
      const second = startInTest(["worker", "--until-idle"], settings);
      expect(await second.ended).toMatchObject({ code: 0 });
      return await previousOutput(database.pool, { tenant_id, ...given }, "echo");
    },
  };
}

/** Has the first step been saved, and the second one not? */
async function isHalfWay(tenant_id: string): Promise<boolean> {
  const sql = `
    with saved as (
      select thread_id, channel from checkpoint_writes union all select thread_id, channel from checkpoint_blobs
    )
    select true as saved from saved
    where channel = 'said'
      and thread_id in (select id::text from pipeline_runs where tenant_id = $1 and pipeline = 'echo')
    limit 1`;
  return (await maybeOne(database.pool, z.object({ saved: z.boolean() }), sql, [tenant_id])) !== undefined;
}

const linesOf = async (file: string) => (await readFile(file, "utf8")).trim().split("\n");

describe("a run whose worker was killed half way", { timeout: 90_000 }, () => {
  test("is gone on with by a worker of the same code", async () => {
    const half = await killedHalfWay("one");

    expect(await half.goOn()).toEqual({ said: "one then one" });
    expect(await linesOf(half.log)).toEqual(["one"]);
  });

  test("starts over in a worker of other code, though its version is the same: the two never mix", async () => {
    const half = await killedHalfWay("old");
    await half.change("graphs/echo/ends.ts", twoSteps("new", false, half.log));

    expect(await half.goOn()).toEqual({ said: "new then new" });
    expect(await linesOf(half.log)).toEqual(["old", "new"]);
  });
});
