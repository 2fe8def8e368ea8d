import { randomUUID } from "node:crypto";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { LoregraphError } from "../../src/errors.ts";
import { OfTenant } from "../../src/http/shapes.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { gate, runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;
let done: number;
/** What the route does, beside counting. */
let work: () => Promise<unknown>;

beforeAll(async () => {
  database = await testDatabase();
  api = await openTestApp(runtime(database));
  const Body = z.strictObject({ add: z.int().default(1), note: z.string().optional() });
  const response = { 201: z.object({ done: z.int() }), 204: z.undefined() };
  api.app.route({
    method: ["POST", "DELETE"],
    url: "/tenants/:tenant_id/count",
    config: { scope: "write" },
    schema: { params: OfTenant, body: Body.optional(), response },
    handler: async ({ method, body }, reply) => {
      done += (body as z.infer<typeof Body> | undefined)?.add ?? 1;
      await work();
      return method === "DELETE" ? reply.code(204).send() : reply.code(201).send({ done });
    },
  });
  api.app.get(
    "/tenants/:tenant_id/count",
    { config: { scope: "read" }, schema: { params: OfTenant } },
    () => ({ done: ++done }),
  );
});

afterEach(async () => {
  await database.pool.query("truncate idempotent_answers");
});

type Given = { key?: string; payload?: object; method?: "POST" | "DELETE" | "GET"; token?: string };

/** Sends the request, by default with a key of its own that nobody else uses. */
async function send({ key, payload = {}, method = "POST", token = api.keys.write }: Given) {
  const headers = key === undefined ? {} : { "idempotency-key": key };
  const url = `/tenants/${api.tenant}/count`;
  return await api.ask({ method, url, headers, ...(method === "GET" ? {} : { payload }) }, token);
}

/** What the database keeps of a key. */
async function kept(key: string) {
  const { rows } = await database.pool.query("select * from idempotent_answers where idempotency_key = $1", [
    key,
  ]);
  return rows[0];
}

/** Makes what is kept of a key older. */
async function age(key: string, interval: string): Promise<void> {
  await database.pool.query(
    "update idempotent_answers set created_at = now() - $2::interval where idempotency_key = $1",
    [key, interval],
  );
}

const newKey = () => {
  done = 0;
  work = async () => {};
  return randomUUID();
};

describe("a write with an Idempotency-Key", () => {
  test("is done once, and answered the same each time", async () => {
    const key = newKey();
    const first = await send({ key });
    const second = await send({ key });

    expect(done).toBe(1);
    expect([first.statusCode, first.body]).toEqual([201, '{"done":1}']);
    expect([second.statusCode, second.body]).toEqual([201, '{"done":1}']);
    expect(second.headers["content-type"]).toBe(first.headers["content-type"]);
    expect(first.headers["idempotency-replayed"]).toBeUndefined();
    expect(second.headers["idempotency-replayed"]).toBe("true");
  });

  test("is the same however its body is written", async () => {
    const key = newKey();
    await send({ key, payload: { add: 2, note: "x" } });
    await send({ key, payload: { note: "x", add: 2 } });

    expect(done).toBe(2);
  });

  test("is answered again without a body where there was none", async () => {
    const key = newKey();
    const first = await send({ key, method: "DELETE" });
    const second = await send({ key, method: "DELETE" });

    expect([first.statusCode, second.statusCode, second.body, done]).toEqual([204, 204, "", 1]);
  });

  test.each([
    ["another body", { payload: { add: 2 } }],
    ["another method", { method: "DELETE" as const }],
  ])("conflicts with %s under the same key", async (_, other) => {
    const key = newKey();
    await send({ key });
    const conflict = await send({ key, ...other });

    expect(conflict.json()).toMatchObject({
      code: "IDEMPOTENCY_CONFLICT",
      detail: "another request was sent under this Idempotency-Key",
    });
    expect([conflict.statusCode, done]).toEqual([409, 1]);
  });

  test("is another one under another API key", async () => {
    const key = newKey();
    await send({ key });
    await send({ key, token: api.keys.admin });

    expect(done).toBe(2);
  });

  test("conflicts with itself while it is under way, and says when to ask again", async () => {
    const key = newKey();
    const { reached, open, pass } = gate();
    work = pass;
    const first = send({ key });
    await reached;
    const second = await send({ key });
    open();

    expect(second.json()).toMatchObject({ code: "IDEMPOTENCY_CONFLICT", status: 409 });
    expect(Number(second.headers["retry-after"])).toBeGreaterThan(0);
    expect((await first).statusCode).toBe(201);
    expect(done).toBe(1);
  });

  test("is done once by many who ask at once", async () => {
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 10 }, () => send({ key })));

    expect(done).toBe(1);
    expect(new Set(answers.map(({ statusCode }) => statusCode))).not.toContain(500);
    expect((await send({ key })).body).toBe('{"done":1}');
  });

  test("is taken over a minute after a crash, by the same request alone", async () => {
    const key = newKey();
    await send({ key });
    await database.pool.query("update idempotent_answers set status = null, body = null");

    await age(key, "59 seconds");
    expect((await send({ key })).statusCode).toBe(409);
    await age(key, "61 seconds");
    expect((await send({ key, payload: { add: 5 } })).statusCode).toBe(409);
    expect((await send({ key })).body).toBe('{"done":2}');
    expect((await send({ key })).body).toBe('{"done":2}');
  });

  test("may be sent again after it failed", async () => {
    const key = newKey();
    work = async () => Promise.reject(new Error("broken"));
    const first = await send({ key });
    work = async () => {};
    const second = await send({ key });

    expect([first.statusCode, second.statusCode]).toEqual([500, 201]);
    expect(second.headers["idempotency-replayed"]).toBeUndefined();
  });

  test("is refused the same each time where it was refused", async () => {
    const key = newKey();
    work = async () => Promise.reject(new LoregraphError("STATE_TRANSITION", "it is over"));
    const first = await send({ key });
    work = async () => {};
    const second = await send({ key });

    expect([first.statusCode, second.statusCode]).toEqual([409, 409]);
    expect(second.body).toBe(first.body);
    expect(second.headers["content-type"]).toBe(first.headers["content-type"]);
  });

  test("may be corrected where it was not understood", async () => {
    const key = newKey();
    const first = await send({ key, payload: { add: "two" } });
    const second = await send({ key, payload: { add: 2 } });

    expect([first.statusCode, second.statusCode, done]).toEqual([400, 201, 2]);
  });

  test("is answered even where the answer cannot be kept", async () => {
    const key = newKey();
    work = async () => {
      await database.pool.query("alter table idempotent_answers rename to away");
    };
    const first = await send({ key });
    await database.pool.query("alter table away rename to idempotent_answers");

    expect([first.statusCode, first.body]).toEqual([201, '{"done":1}']);
  });

  test("is forgotten after a day", async () => {
    const key = newKey();
    await send({ key });
    await age(key, "25 hours");

    expect((await send({ key })).body).toBe('{"done":2}');
  });

  test.each([["a key with blanks"], ["é"], ["x".repeat(256)], [""]])("needs a name: not %j", async (key) => {
    newKey();
    const refused = await send({ key });

    expect(refused.json()).toMatchObject({
      code: "INPUT_INVALID",
      detail: "Idempotency-Key: expected 1 to 255 visible ASCII characters",
    });
    expect(done).toBe(0);
  });
});

test("what nobody can ask for any more is deleted by the next write of a new process", async () => {
  const [old, recent] = [newKey(), newKey()];
  await send({ key: old });
  await send({ key: recent });
  await age(old, "25 hours");
  await age(recent, "23 hours");
  const other = await openTestApp(runtime(database));
  other.app.post("/anything", { config: { scope: "admin" } }, () => ({}));
  await other.ask({ method: "POST", url: "/anything", headers: { "idempotency-key": "x" } });

  expect(await kept(old)).toBeUndefined();
  expect(await kept(recent)).toBeDefined();
});

test("a write without one is done each time", async () => {
  newKey();
  await send({});
  await send({});

  expect(done).toBe(2);
});

test("a read heeds none", async () => {
  const key = newKey();
  await send({ key, method: "GET" });
  await send({ key, method: "GET" });

  expect(done).toBe(2);
  expect(await kept(key)).toBeUndefined();
});
