import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { openPool } from "../../../src/db.ts";
import type { ModelRequest, ModelResponse, Send } from "../../../src/models/layers.ts";
import { type LimitOptions, limits } from "../../../src/models/limits/limits.ts";
import type { ModelLimits } from "../../../src/models/limits/settings.ts";
import { type TestDatabase, testDatabase } from "../../support/database.ts";
import { closedUrl } from "../server.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

type Call = Partial<Pick<ModelRequest, "model" | "signal" | "body">>;

/** What a process asks through: each call of this makes another process, with a queue of its own. */
function processAsking(next: Send, allowed: ModelLimits = {}, more: Partial<LimitOptions> = {}) {
  const ask = limits({ db: database.pool, limitsOf: () => allowed, callMs: 5_000, ...more })(next);
  return ({ model = "m", signal, body = {} }: Call = {}) =>
    ask({
      ...{ kind: "chat", model, node: undefined, key: "", url: "http://double.test/v1/chat/completions" },
      ...{ headers: new Headers(), body, signal, asker: undefined, gate: async () => {}, fallbacks: [] },
    });
}

function response(status = 200, headers: Record<string, string> = {}, body: unknown = {}): ModelResponse {
  const said = { headers: new Headers(headers), body: JSON.stringify(body) };
  return { status, ...said, from: "provider", model: "m", ms: 1 };
}

/** Answers one by one; the last one for ever. */
function answering(...answers: readonly (ModelResponse | Error)[]) {
  const calls: number[] = [];
  const send: Send = async () => {
    const answer = answers[Math.min(calls.length, answers.length - 1)];
    calls.push(performance.now());
    if (answer instanceof Error) throw answer;
    return answer ?? response();
  };
  return { calls, send };
}

describe("calls", () => {
  test("of several processes begin no faster than is allowed to all", async () => {
    const model = randomUUID();
    const { calls, send } = answering(response());
    const processes = [1, 2, 3].map(() => processAsking(send, { requests_per_minute: 1_200 }));
    await Promise.all(processes.flatMap((ask) => Array.from({ length: 10 }, () => ask({ model }))));

    expect(calls).toHaveLength(30);
    // 19.7 a second, and whatever is late comes no earlier for it.
    const spans = calls.slice(1).map((at, nth) => ({ ms: at - (calls[0] ?? 0), before: nth + 1 }));
    expect(spans.filter(({ ms, before }) => before > (ms / 1_000) * 19.7 + 3)).toEqual([]);
  });

  test("that need tokens wait for those, by what answers say they needed", async () => {
    const model = randomUUID();
    const usage = { prompt_tokens: 900, completion_tokens: 100, prompt_tokens_details: { cached_tokens: 0 } };
    const { calls, send } = answering(response(200, {}, { usage }));
    const ask = processAsking(send, { tokens_per_minute: 60_000 });
    await ask({ model });
    await delay(300);
    await ask({ model });

    // 985 tokens a second: a thousand take that long, though five were thought to be enough.
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBeGreaterThan(900);
  });

  test("are no more at once than is allowed to all", async () => {
    const model = randomUUID();
    let [open, most] = [0, 0];
    const send: Send = async () => {
      most = Math.max(most, ++open);
      await delay(20);
      open--;
      return response();
    };
    const processes = [1, 2].map(() => processAsking(send, { concurrency: 2 }));
    await Promise.all(processes.flatMap((ask) => [ask({ model }), ask({ model }), ask({ model })]));

    expect(most).toBeLessThanOrEqual(2);
  });

  test("end their wait when they are given up, and leave the others theirs", async () => {
    const model = randomUUID();
    const { calls, send } = answering(response());
    const ask = processAsking(send, { requests_per_minute: 120 });
    const reason = new Error("no longer needed");
    const given = new AbortController();
    const first = ask({ model });
    const second = ask({ model, signal: given.signal });
    const third = ask({ model });
    await first;
    given.abort(reason);

    await expect(second).rejects.toBe(reason);
    expect((await third).status).toBe(200);
    expect(calls).toHaveLength(2);
  });

  test("whose turn does not come in time say when to come back", async () => {
    const model = randomUUID();
    const ask = processAsking(answering(response()).send, { requests_per_minute: 1 }, { patienceMs: 100 });
    await ask({ model });

    await expect(ask({ model })).rejects.toMatchObject({ code: "RATE_LIMITED", after: expect.any(Date) });
  });

  test("wait for nobody where the database is away, and say so", async () => {
    const url = (await closedUrl()).replace("http", "postgres");
    await using db = Object.assign(openPool(`${url}/nothing`), { [Symbol.asyncDispose]: () => db.end() });
    const ask = processAsking(answering(response()).send, {}, { db });

    await expect(ask()).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
  });
});

describe("a refused call", () => {
  test("is asked again when the provider said to come back, and is no error", async () => {
    const model = randomUUID();
    const { calls, send } = answering(response(429, { "retry-after": "1" }), response());

    expect((await processAsking(send)({ model })).status).toBe(200);
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test("keeps those of other processes waiting", async () => {
    const model = randomUUID();
    const { calls, send } = answering(response(429, { "retry-after": "1" }), response());
    const first = processAsking(send)({ model });
    while (calls.length === 0) await delay(5);
    await delay(100);
    await processAsking(send)({ model });
    await first;

    expect(calls).toHaveLength(3);
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBeGreaterThanOrEqual(990);
  });

  test("is told to come back where that is later than it may wait, and so are all others", async () => {
    const model = randomUUID();
    const { calls, send } = answering(response(429, { "retry-after": "60" }));
    expect((await processAsking(send)({ model })).status).toBe(429);
    const since = Date.now();

    await expect(processAsking(send, {}, { patienceMs: 300 })({ model })).rejects.toMatchObject({
      code: "RATE_LIMITED",
      after: expect.toSatisfy((after: Date) => after.getTime() > since + 55_000),
    });
    expect(calls).toHaveLength(1);
  });

  test("that could never be let through is not asked again", async () => {
    const tooLarge = {
      error: { code: "rate_limit_exceeded", message: "Request too large for double: Limit 3" },
    };
    const { calls, send } = answering(response(429, {}, tooLarge));

    expect((await processAsking(send)({ model: randomUUID() })).status).toBe(429);
    expect(calls).toHaveLength(1);
  });
});

describe("what a provider's headers tell", () => {
  const headers = (left: number) => ({
    "x-ratelimit-limit-requests": "600",
    "x-ratelimit-remaining-requests": String(left),
    "x-ratelimit-reset-requests": `${(600 - left) * 100}ms`,
  });

  test("slows calls before any is refused, once little is left", async () => {
    const model = randomUUID();
    const { calls, send } = answering(response(200, headers(200)));
    const ask = processAsking(send);
    await ask({ model });
    await Promise.all(Array.from({ length: 6 }, () => ask({ model })));

    // 9.85 a second: from the first to the last of six it is half of one.
    expect((calls[6] ?? 0) - (calls[1] ?? 0)).toBeGreaterThan(480);
  });

  test("is no reason to wait while much is left", async () => {
    const model = randomUUID();
    const ask = processAsking(answering(response(200, headers(599))).send, {}, { patienceMs: 1_000 });
    await ask({ model });

    await expect(Promise.all(Array.from({ length: 50 }, () => ask({ model })))).resolves.toHaveLength(50);
  });
});

describe("a model that fails", () => {
  test("is asked no more by any process after five failures, and opening is told once", async () => {
    const model = randomUUID();
    const opened: number[] = [];
    const { calls, send } = answering(response(500));
    const more = { onOpened: (_: string, forMs: number) => void opened.push(forMs) };
    const processes = [processAsking(send, {}, more), processAsking(send, {}, more)];
    for (let nth = 0; nth < 5; nth++) expect((await processes[nth % 2]?.({ model }))?.status).toBe(500);
    await expect.poll(() => opened).toHaveLength(1);

    for (const ask of processes)
      await expect(ask({ model })).rejects.toMatchObject({
        code: "MODEL_UNREACHABLE",
        after: expect.any(Date),
      });
    expect(calls).toHaveLength(5);
  });

  test("is not counted for what callers did themselves", async () => {
    const model = randomUUID();
    const given = new AbortController();
    const send: Send = async () => {
      given.abort();
      throw given.signal.reason;
    };
    const ask = processAsking(send);
    for (let nth = 0; nth < 6; nth++)
      await ask({ model, signal: new AbortController().signal }).catch(() => {});
    const signals = Array.from({ length: 6 }, () => given.signal);
    for (const signal of signals) await expect(ask({ model, signal })).rejects.toBe(given.signal.reason);
  });
});
