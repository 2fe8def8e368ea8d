import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import type { Pool } from "../../src/db.ts";
import { acceptEntities } from "../../src/intake.ts";
import { answerRun } from "../../src/ledger/answer.ts";
import { questionsOf } from "../../src/ledger/questions.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { enrichmentsBy } from "../../src/store/enrichments.ts";
import { scene } from "../support/content.ts";
import { testDatabase } from "../support/database.ts";
import { slowAsking } from "../support/killable-worker.ts";
import { startProcess } from "../support/process.ts";
import { runtime } from "../support/runtime.ts";

const scenes = 6;

test("workers that are killed before, while and after graphs are answered give each question its own answer", {
  timeout: 400_000, // a process for each, on a machine that may be busy
}, async () => {
  const database = await testDatabase();
  const { pool, url } = database;
  const tenant_id = randomUUID();
  const entities = Array.from({ length: scenes }, (_, n) => scene({ title: `Scene ${n}` }));
  const { registry } = runtime(database, slowAsking);
  await acceptEntities(pool, registry, { tenant_id, source: "test", entities });

  // Each lives longer than the last: the first dies before anything was asked, and a busy machine has the time it needs.
  let killed = 0;
  for (; (await done(pool)) < scenes && killed < 40; killed++) {
    const worker = startProcess("killable-worker.ts", [url, "asking"]);
    await worker.line();
    await delay(killed ** 2 * 5);
    await worker.kill("SIGKILL");
    await answerAll(pool);
  }

  const said = (await enrichmentsBy(pool, tenant_id, "echo")).map(({ output }) => output.said);
  expect(said.toSorted()).toEqual(
    entities.map(({ title }) => `to: Who is in ${title}?, to: And then, in ${title}?`).toSorted(),
  );
  const runs = await listRuns(pool, { pipeline: "echo" });
  expect(runs.map(({ status }) => status)).toEqual(Array(scenes).fill("success"));
  for (const { id } of runs) expect(await questionsOf(pool, tenant_id, id)).toHaveLength(2);
  expect(killed).toBeGreaterThan(3);
});

async function done(pool: Pool): Promise<number> {
  return (await listRuns(pool, { pipeline: "echo", status: "success" })).length;
}

/** Answers whatever is asked by repeating the question. */
async function answerAll(pool: Pool): Promise<void> {
  for (const run of await listRuns(pool, { status: "waiting" }))
    await answerRun(pool, run, { kind: "one", answer: `to: ${run.question}` }, "tester");
}
