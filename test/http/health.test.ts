import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { forgetWorker, noteWorker } from "../../src/ledger/workers.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp } from "../support/http.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

/** A new app's answers: it looks at most once a second. */
async function ask(url: string, on: TestDatabase = database) {
  const { app } = await openTestApp(runtime(on));
  return await app.inject(url);
}

test("a process that lives says so, to anybody", async () => {
  const response = await ask("/healthz");

  expect([response.statusCode, response.json()]).toEqual([200, { status: "alive" }]);
});

describe("readiness", () => {
  test("needs the database, the newest migration and a bearable load", async () => {
    await noteWorker(database.pool, { worker: "w1", pipelines: ["base"], concurrency: 1 });
    onTestFinished(() => forgetWorker(database.pool, "w1"));
    const response = await ask("/readyz");

    expect(response.statusCode).toBe(200);
    expect(response.json()).toEqual({
      status: "ready",
      checks: {
        database: { ok: true, detail: "reachable" },
        migrations: { ok: true, detail: "at the newest" },
        load: { ok: true, detail: "bearable" },
        workers: { ok: true, detail: "1 seen in the last minute" },
      },
    });
  });

  test("needs no worker, but tells that there is none", async () => {
    const response = await ask("/readyz");

    expect(response.statusCode).toBe(200);
    expect(response.json()).toMatchObject({
      status: "ready",
      checks: { workers: { ok: false, detail: expect.stringContaining("none was seen") } },
    });
  });

  test("names the migrations that the database lacks", async () => {
    const behind = await testDatabase();
    await behind.pool.query("delete from loregraph.migrations where name like '0002%'");
    const response = await ask("/readyz", behind);

    expect(response.statusCode).toBe(503);
    expect(response.json()).toMatchObject({
      status: "unready",
      checks: { database: { ok: true }, migrations: { ok: false, detail: "lacks 0002_ledger" } },
    });
  });

  test("ends with the database, whose address it does not tell", async () => {
    const gone = await testDatabase();
    const { app } = await openTestApp(runtime(gone));
    await gone.pool.end();
    const response = await app.inject("/readyz");

    expect(response.statusCode).toBe(503);
    expect(response.json()).toMatchObject({
      status: "unready",
      checks: {
        database: { ok: false },
        migrations: { ok: false },
        workers: { ok: false, detail: "unknown" },
      },
    });
    expect(response.body).not.toContain(new URL(gone.url).port);
  });

  test("is looked at once a second, however many ask", async () => {
    const { app } = await openTestApp(runtime(database));
    await app.ready();
    const spy = vi.spyOn(database.pool, "query");
    onTestFinished(() => spy.mockRestore());
    await app.inject("/readyz");
    const once = spy.mock.calls.length;
    await Promise.all([app.inject("/readyz"), app.inject("/readyz")]);

    expect(once).toBeGreaterThan(0);
    expect(spy.mock.calls.length).toBe(once);
  });
});

describe("a process that is asked too much", () => {
  /** An app whose event loop was not seen to turn for two seconds: what stands still is under pressure. */
  async function overloaded() {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const api = await openTestApp(runtime(database));
    await api.app.ready();
    vi.advanceTimersByTime(1_000);
    vi.advanceTimersByTime(1_000);
    return api;
  }

  test("takes no more, and says when to come back", async () => {
    const { ask } = await overloaded();
    const response = await ask({ url: "/admin/tenants" });

    expect(response.json()).toMatchObject({ code: "OVERLOADED", status: 503, retry: true });
    expect(response.headers["retry-after"]).toBe("5");
  });

  test("says that it lives, but is not ready", async () => {
    const { app } = await overloaded();

    expect((await app.inject("/healthz")).statusCode).toBe(200);
    expect((await app.inject("/readyz")).json()).toMatchObject({
      status: "unready",
      checks: { load: { ok: false, detail: "too much is asked at once" } },
    });
  });
});
