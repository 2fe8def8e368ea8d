import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, expect, test } from "vitest";
import { LoregraphError } from "../../src/errors.ts";
import { openLog } from "../../src/telemetry/log.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, forever, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

const secret = "sk-secret-1234567890";
const told = "Mara drowned the ferryman.";

/** What a worker writes, at its most talkative, about a scene whose graph does `fails` first. */
async function linesOf(fails: (text: string) => unknown) {
  const lines: Record<string, unknown>[] = [];
  const log = openLog("trace", { write: (line: string) => void lines.push(JSON.parse(line)) });
  let calls = 0;
  const pipeline = echo(({ text }) => (++calls === 1 ? fails(text) : { said: text }), { timeout: 300 });
  const context = { ...runtime(database, pipeline), log };
  const worker = startWorker(context, database, { url: database.url });
  const scene = await takeScene(context, { text: told, title: told, metadata: { apiKey: secret } });
  await worker.untilDone();
  await worker.stop();
  return { lines, run: await runAbout(context, scene), scene };
}

test("every line of a run bears its tenant, run, attempt and pipeline", async () => {
  const { lines, run, scene } = await linesOf(() => {
    throw new Error("no");
  });

  const ids = { tenant: scene.tenant_id, run: run.id, pipeline: "echo" };
  expect(lines.filter(({ run: id }) => id === run.id)).toMatchObject([
    { msg: "attempt-failed", level: "warn", code: "GRAPH_FAILED", status: "pending", attempt: 1, ...ids },
    { msg: "attempt-ended", level: "debug", ending: "retry", attempt: 1, ...ids },
    { msg: "attempt-ended", level: "debug", ending: "answered", attempt: 2, ...ids },
  ]);
});

test.each<[string, (text: string) => unknown]>([
  [
    "an error that quotes it",
    (text) => {
      throw new Error(`${text} ${secret}`);
    },
  ],
  [
    "a model error that quotes it",
    (text) => {
      throw new LoregraphError("MODEL_ANSWER_INVALID", `${text} ${secret}`, { cause: new Error(secret) });
    },
  ],
  ["an answer of the wrong shape", (text) => ({ [text]: secret })],
  ["an unknown event", (text) => ({ said: "x", events: [{ event: text, metadata: { secret } }] })],
  [
    "an answer that cannot be stored",
    (text) => ({ said: text, events: [{ event: "x", metadata: { big: 1n } }] }),
  ],
  ["a graph that hangs", forever],
])("no line quotes an entity or a secret: %s", async (_, fails) => {
  const { lines } = await linesOf(fails);
  const written = JSON.stringify(lines);

  expect(lines.length).toBeGreaterThan(2);
  expect(written).not.toContain("ferryman");
  expect(written).not.toContain(secret);
  expect(written).not.toContain(new URL(database.url).password || randomUUID());
});
