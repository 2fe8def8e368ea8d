/** A tenant's same question is asked once, and an answer that was of no use is served to nobody. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, expect, test } from "vitest";
import { totalCostOf } from "../../src/ledger/cost.ts";
import { openCache } from "../../src/models/cache.ts";
import { deleteOldAnswers } from "../../src/models/kept-answers.ts";
import { openModels } from "../../src/models/models.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, gate, runAbout, runtime, startWorker, takeScene } from "../support/runtime.ts";
import { type Answer, completion, embeddings, serverAnswering, settingsFor } from "./server.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(async () => {
  await emptyLedger(database);
  await database.pool.query("truncate model_answers, model_calls, model_spends");
});

const hour = 3_600_000;
const yes = () => completion({ content: "yes" });

async function modelServer(answer: (nth: number) => Answer = yes) {
  let chats = 0;
  const server = await serverAnswering(({ path, body }) =>
    path === "/v1/embeddings" ? embeddings((body.input as string[]).map(() => [0.5, 0.5])) : answer(++chats),
  );
  return { url: server.url, chats: () => chats };
}

/** The models of one process, with a cache. */
function process(url: string, maxAgeMs = hour) {
  const cache = openCache(database.pool, { maxAgeMs });
  return openModels(settingsFor(url, { embeddingModel: "two-wide" }), { cache });
}

type Models = ReturnType<typeof process>;

function lend(models: Models, tenant_id: string, fresh = false, named?: readonly string[]) {
  const asker = { tenant_id, run_id: randomUUID(), pipeline: "echo", fresh };
  const { model, keep, usage } = models.lend({ known: async () => new Map(), asker, models: named });
  return { keep, usage, ask: async (what: string) => (await model?.invoke(what))?.text };
}

/** One attempt that asks one question and is answered well. */
async function asks(models: Models, tenant_id: string, fresh = false) {
  const attempt = lend(models, tenant_id, fresh);
  const said = await attempt.ask("Is all well?");
  await attempt.keep();
  return said;
}

test("is asked once by all processes, and by each tenant for itself", async () => {
  const server = await modelServer();
  const [one, other] = [process(server.url), process(server.url)];
  const tenant = randomUUID();

  expect(await asks(one, tenant)).toBe("yes");
  expect(await asks(other, tenant)).toBe("yes");
  expect(server.chats()).toBe(1);

  await asks(one, randomUUID());
  expect(server.chats()).toBe(2);
});

test("an answer of a model that stood in is not kept for the one that was asked", async () => {
  let isAway = true;
  const { url, requests } = await serverAnswering(({ body }) =>
    body.model === "first" && isAway
      ? { status: 503, body: {} }
      : completion({ content: String(body.model) }),
  );
  const tenant = randomUUID();
  const askBoth = async () => {
    const attempt = lend(process(url), tenant, false, ["first", "second"]);
    const said = await attempt.ask("Is all well?");
    await attempt.keep();
    return said;
  };

  expect(await askBoth()).toBe("second");
  isAway = false;
  expect(await askBoth()).toBe("first");
  expect(await askBoth()).toBe("first");
  expect(requests.map(({ body }) => body.model)).toEqual(["first", "second", "first"]);
});

test("is asked again when its answer is too old, and what is too old or too much goes", async () => {
  const server = await modelServer();
  const models = process(server.url, 1);
  const tenant = randomUUID();
  await asks(models, tenant);
  await asks(models, tenant);
  expect(server.chats()).toBe(2);
  expect(await deleteOldAnswers(database.pool)).toBe(1);

  const lasting = process(server.url);
  for (const nth of [1, 2, 3]) {
    const attempt = lend(lasting, tenant);
    await attempt.ask(`Question ${nth}`);
    await attempt.keep();
  }
  expect(await deleteOldAnswers(database.pool, { most: 2 })).toBe(1);
  await lend(lasting, tenant).ask("Question 3");
  expect(server.chats()).toBe(5);
  await lend(lasting, tenant).ask("Question 1");
  expect(server.chats()).toBe(6);
});

test("is asked once while its answer is on its way", async () => {
  const here = gate();
  const server = await modelServer();
  const cache = openCache(database.pool, { maxAgeMs: hour });
  const models = openModels(settingsFor(server.url), {
    cache,
    limits: (next) => async (request) => {
      await here.pass();
      return await next(request);
    },
  });
  const tenant = randomUUID();
  const askers = [1, 2, 3].map(() => lend(models, tenant));
  const answers = Promise.all(askers.map(({ ask }) => ask("Is all well?")));
  await here.reached;
  await new Promise((resolve) => setTimeout(resolve, 300)); // the others have found nothing kept by then
  here.open();

  expect(await answers).toEqual(["yes", "yes", "yes"]);
  expect(server.chats()).toBe(1);
  expect(askers.map(({ usage }) => usage().model_calls).toSorted()).toEqual([0, 0, 1]);
});

test("is asked again by who could not use the answer, and the new one takes its place", async () => {
  const server = await modelServer((nth) => completion({ content: nth === 1 ? "old" : "new" }));
  const models = process(server.url);
  const tenant = randomUUID();
  await asks(models, tenant);

  const unhappy = lend(models, tenant);
  expect(await unhappy.ask("Is all well?")).toBe("old");
  expect(await unhappy.ask("Is all well?")).toBe("new");
  await unhappy.keep();

  expect(await asks(models, tenant)).toBe("new");
  expect(await asks(models, tenant, true)).toBe("new");
  expect(server.chats()).toBe(3);
});

test("is asked where the cache cannot be read", async () => {
  const server = await modelServer();
  const { pool } = await testDatabase({ migrated: false });
  const models = openModels(settingsFor(server.url), { cache: openCache(pool, { maxAgeMs: hour }) });

  expect(await lend(models, randomUUID()).ask("Is all well?")).toBe("yes");
});

async function work(models: Models, pipeline: Pipeline, tenant_id: string) {
  const context = { ...runtime(database, pipeline), models };
  const about = await takeScene(context, { tenant_id, text: "The same." });
  await using worker = startWorker(context, database);
  await worker.untilDone();
  return await runAbout(context, about);
}

test("an answer that its graph cannot use is kept for nobody, and a run that failed asks anew", async () => {
  const server = await modelServer((nth) => completion({ content: nth === 2 ? "nonsense" : "sense" }));
  const models = process(server.url);
  const tenant = randomUUID();
  const strict = (word: string) =>
    echo(async (_, __, { model }) => {
      const said = (await model?.invoke("Is all well?"))?.text;
      return { said: said === word ? said : undefined };
    });

  expect(await work(models, strict("sense"), tenant)).toMatchObject({ status: "success", attempt: 1 });
  // The second wants another word than what was kept: the server's first new answer fits.
  expect(await work(models, strict("nonsense"), tenant)).toMatchObject({ status: "success", attempt: 2 });
  expect(server.chats()).toBe(2);
  expect(await work(models, strict("nonsense"), tenant)).toMatchObject({ status: "success", attempt: 1 });
  expect(server.chats()).toBe(2);

  expect(await totalCostOf(database.pool, tenant, {})).toMatchObject({ saved_calls: 2 });
});
