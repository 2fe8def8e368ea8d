import { randomUUID } from "node:crypto";
import { Webhook as Verifier } from "standardwebhooks";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { listRuns } from "../../src/ledger/read.ts";
import { deliveryPipeline } from "../../src/store/deliveries.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { claim, runOf } from "../support/ledger.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, runtime } from "../support/runtime.ts";
import { startSubscriber } from "../support/subscriber.ts";
import { newSubject, owedTo, startDeliverer, tell } from "../support/webhooks.ts";

const emitting = echo(() => ({ said: "" }), { emits: ["mood.changed"] });

let database: TestDatabase;
let open: TestApp;
let cautious: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  const context = runtime(database, emitting);
  open = await openTestApp({ ...context, webhooks: { timeoutMs: 200, toPrivate: true } });
  cautious = await openTestApp(context);
});
afterEach(() => emptyLedger(database));

type Body = Record<string, unknown>;

const pathOf = (tenant_id: string, rest = "") => `/tenants/${tenant_id}/webhooks${rest}`;

async function create(body: Body, tenant_id: string = randomUUID(), app = open) {
  const response = await app.ask({ method: "POST", url: pathOf(tenant_id), payload: body });
  const { id, secret }: { id: string; secret: string } = response.json();
  return { response, tenant_id, id, secret };
}

/** Asks about one webhook. */
async function on(
  { tenant_id, id }: { tenant_id: string; id: string },
  method: "GET" | "POST" | "PATCH" | "DELETE",
  rest = "",
  payload?: Body,
) {
  return await open.ask({ method, url: pathOf(tenant_id, `/${id}${rest}`), ...(payload && { payload }) });
}

describe("a webhook", () => {
  test("is made with a secret that is shown once", async () => {
    const made = await create({
      url: "https://example.org/hook",
      events: ["entity.ingested", "mood.changed"],
    });

    expect(made.response.statusCode).toBe(201);
    expect(Buffer.from(made.secret.replace(/^whsec_/, ""), "base64")).toHaveLength(32);
    const shown = await on(made, "GET");
    expect(shown.json()).toEqual({
      tenant_id: made.tenant_id,
      id: made.id,
      url: "https://example.org/hook",
      events: ["entity.ingested", "mood.changed"],
      description: "",
      created_at: expect.stringMatching(/^\d{4}-.*Z$/),
      failing_since: null,
      disabled_at: null,
      disabled_because: null,
      owed: 0,
      last_error: null,
    });
    expect(shown.body + (await open.ask({ url: pathOf(made.tenant_id) })).body).not.toContain(made.secret);
  });

  test.each([
    [{}, "url"],
    [{ url: "ftp://example.org/" }, "http or https"],
    [{ url: "//example.org/" }, "http or https"],
    [{ url: "https://user:pw@example.org/" }, "without user"],
    [{ url: "https://example.org/#part" }, "fragment"],
    [{ url: "https://example.org/\u0000" }, "NUL"],
    [{ url: `https://example.org/${"x".repeat(2_000)}` }, "2000"],
    [{ url: "https://example.org/", events: [] }, "events"],
    [{ url: "https://example.org/", events: ["entity.ingestd"] }, "got: entity.ingestd"],
    [{ url: "https://example.org/", surprise: 1 }, "surprise"],
  ])("is refused where it makes no sense: %j", async (body, why) => {
    const { response } = await create(body);

    expect(response.statusCode).toBe(400);
    expect(response.json()).toMatchObject({ code: "INPUT_INVALID" });
    expect(response.json().detail).toContain(why);
  });

  test.each(["http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "http://2852039166/latest/meta-data"])(
    "does not go to %s unless the settings let it",
    async (url) => {
      const { response } = await create({ url }, randomUUID(), cautious);

      expect(response.statusCode).toBe(400);
      expect(response.json().detail).toBe(
        "url: expected a public address, as LOREGRAPH_WEBHOOK_PRIVATE is not true",
      );
    },
  );

  test("is the fiftieth of its tenant at most, however many ask at once", async () => {
    const tenant = randomUUID();
    const made = await Promise.all(
      Array.from({ length: 53 }, () => create({ url: "https://example.org/" }, tenant)),
    );

    const codes = made.map(({ response }) => response.statusCode).toSorted();
    expect(codes).toEqual([...Array(50).fill(201), ...Array(3).fill(400)]);
  });

  test("is listed by pages, oldest first", async () => {
    const tenant = randomUUID();
    const ids: string[] = [];
    for (let n = 0; n < 3; n++) ids.push((await create({ url: "https://example.org/" }, tenant)).id);

    const first = (await open.ask({ url: pathOf(tenant, "?limit=2") })).json();
    const rest = (await open.ask({ url: pathOf(tenant, `?limit=2&cursor=${first.next}`) })).json();

    expect([...first.items, ...rest.items].map(({ id }) => id)).toEqual(ids);
    expect([first.items.length, rest.next]).toEqual([2, null]);
  });

  test("is changed in what is named and in nothing else", async () => {
    const made = await create({ url: "https://example.org/a", events: ["entity.ingested"] });

    const changed = await on(made, "PATCH", "", { url: "https://example.org/b", events: null });
    expect(changed.json()).toMatchObject({ url: "https://example.org/b", events: null, description: "" });
    expect((await on(made, "PATCH", "", { description: "Mara’s" })).json()).toMatchObject({
      url: "https://example.org/b",
      description: "Mara’s",
    });
    expect((await on(made, "PATCH", "", {})).statusCode).toBe(400);
  });

  test("is of one tenant: to another there is none", async () => {
    const made = await create({ url: "https://example.org/" });
    const foreign = { ...made, tenant_id: randomUUID() };

    for (const [method, rest] of [
      ["GET", ""],
      ["DELETE", ""],
      ["POST", "/enable"],
      ["POST", "/disable"],
      ["POST", "/rotate"],
      ["POST", "/test"],
    ] as const) {
      expect((await on(foreign, method, rest)).statusCode, `${method} ${rest}`).toBe(404);
    }
    expect((await on(foreign, "PATCH", "", { description: "x" })).statusCode).toBe(404);
    expect((await on(made, "GET")).json()).toMatchObject({ disabled_at: null, description: "" });
  });

  test("gets a new secret, which signs what comes next", async () => {
    const subject = newSubject();
    const subscriber = await startSubscriber();
    const made = await create({ url: subscriber.url }, subject.tenant_id);
    const { secret } = (await on(made, "POST", "/rotate")).json();
    await tell(database.pool, subject, "entity.changed");
    await using _ = startDeliverer(database);
    await subscriber.heard(1);

    const [{ body, headers } = { body: "", headers: {} }] = subscriber.received;
    expect(new Verifier(secret).verify(body, headers)).toMatchObject({ event: "entity.changed" });
    expect(() => new Verifier(made.secret).verify(body, headers)).toThrow();
  });

  test("is deleted with what it was owed, and its deliveries end", async () => {
    const subject = newSubject();
    const made = await create({ url: "https://example.org/" }, subject.tenant_id);
    await tell(database.pool, subject, "one");
    const [running] = await claim(database.pool, deliveryPipeline(made.id));
    await tell(database.pool, subject, "two");

    expect((await on(made, "DELETE")).statusCode).toBe(204);

    expect((await on(made, "GET")).statusCode).toBe(404);
    expect(await owedTo(database.pool, subject)).toBe(0);
    const statuses = (await listRuns(database.pool, subject)).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual(["cancelled", "running"]);
    expect((await runOf(database.pool, running ?? { id: "" })).cancel_requested_at).toBeInstanceOf(Date);
  });

  test("is disabled and enabled again on request", async () => {
    const subject = newSubject();
    const made = await create({ url: "https://example.org/" }, subject.tenant_id);
    await tell(database.pool, subject, "one");

    const disabled = (await on(made, "POST", "/disable")).json();
    expect(disabled).toMatchObject({ disabled_because: "it was asked for", owed: 1 });
    expect((await on(made, "POST", "/disable")).json().disabled_at).toBe(disabled.disabled_at);
    expect(await claim(database.pool, deliveryPipeline(made.id))).toEqual([]);

    expect((await on(made, "POST", "/enable")).json()).toMatchObject({ disabled_at: null, owed: 1 });
    expect(await claim(database.pool, deliveryPipeline(made.id))).toHaveLength(1);
  });
});

describe("trying a webhook", () => {
  test("sends it one signed event and tells what it answered", async () => {
    const subscriber = await startSubscriber(() => 202);
    const made = await create({ url: subscriber.url, events: ["entity.deleted"] });

    const tried = await on(made, "POST", "/test");

    expect(tried.json()).toEqual({ delivered: true, status: 202, error: null, ms: expect.any(Number) });
    const [{ body, headers } = { body: "", headers: {} }] = subscriber.received;
    expect(new Verifier(made.secret).verify(body, headers)).toMatchObject({
      id: 0,
      event: "webhook.test",
      tenant_id: made.tenant_id,
      metadata: { webhook_id: made.id },
    });
  });

  test("tells of a refusal, a silence and a closed door, which count for nothing", async () => {
    const refusing = await startSubscriber(() => 401);
    const silent = await startSubscriber(() => undefined);
    const closed = await startSubscriber();
    await closed.die();

    const errors = [];
    for (const { url } of [refusing, silent, closed]) {
      const made = await create({ url });
      errors.push((await on(made, "POST", "/test")).json());
      expect((await on(made, "GET")).json()).toMatchObject({ failing_since: null, owed: 0 });
    }

    expect(errors.map(({ status, error }) => [status, error])).toEqual([
      [401, "the subscriber answered 401"],
      [null, "the subscriber did not answer within 200 ms"],
      [null, "the subscriber could not be reached: ECONNREFUSED"],
    ]);
  });
});
