import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { parkWith, runOf, started } from "../support/ledger.ts";
import { runtime } from "../support/runtime.ts";

let database: TestDatabase;
let api: TestApp;
beforeAll(async () => {
  database = await testDatabase();
  api = await openTestApp(runtime(database));
});

async function waiting(tenant_id = api.tenant, ids: readonly string[] = ["q"]) {
  const asking = await started(database.pool, { tenant_id });
  const schema = { type: "object", properties: { name: { type: "string" } }, required: ["name"] };
  await parkWith(
    database.pool,
    asking,
    ids.map((id) => ({ id, question: `Who is ${id}?`, answer_schema: schema })),
  );
  return asking;
}

type Asked = { readonly tenant_id: string; readonly id: string };
const ofTenant = ({ tenant_id, id }: Asked) => `/admin/tenants/${tenant_id}/runs/${id}/answer`;

async function post(url: string, payload: object, token?: string, headers = {}) {
  const { statusCode, body } = await api.ask({ method: "POST", url, payload, headers }, token);
  return { status: statusCode, json: JSON.parse(body) };
}

const [one, other] = ["1".repeat(32), "2".repeat(32)];
const mara = { answer: { name: "Mara" } };

test("the list of runs that wait tells what they ask", async () => {
  const asking = await waiting();
  const { body } = await api.ask({ url: `/admin/tenants/${api.tenant}/runs?status=waiting` });

  expect(JSON.parse(body).items[0]).toMatchObject({
    ...{ id: asking.id, question: "Who is q?", waiting_since: expect.stringMatching(/Z$/) },
  });
});

describe("an answer", () => {
  test("of a tenant's own key is kept under the key's name, and the run goes on", async () => {
    const asking = await waiting();
    expect(await post(ofTenant(asking), mara, api.keys.write)).toEqual({
      ...{ status: 200, json: { id: asking.id, status: "pending", open: [] } },
    });
    const { body } = await api.ask({ url: `/admin/tenants/${api.tenant}/runs/${asking.id}` });
    expect(JSON.parse(body)).toMatchObject({
      ...{ status: "pending", question: null, waiting_since: null },
      questions: [
        { id: "q", answer: { name: "Mara" }, answered_by: "test", answer_schema: { type: "object" } },
      ],
    });
  });

  test("of an administrator needs no tenant", async () => {
    const asking = await waiting(randomUUID());
    expect(await post(`/admin/runs/${asking.id}/answer`, mara)).toMatchObject({ status: 200 });
    expect((await runOf(database.pool, asking)).status).toBe("pending");
    expect(await post(`/admin/runs/${randomUUID()}/answer`, mara)).toMatchObject({ status: 404 });
  });

  test.each(["read", "foreignWrite", "expired"] as const)("is refused a %s key", async (kind) => {
    const asking = await waiting();
    const { status } = await post(ofTenant(asking), mara, api.keys[kind]);
    expect(status).toBe(kind === "expired" ? 401 : 403);
    expect((await post(`/admin/runs/${asking.id}/answer`, mara, api.keys.write)).status).toBe(403);
    expect((await runOf(database.pool, asking)).status).toBe("waiting");
  });

  test("that comes second is a conflict that tells who was first", async () => {
    const asking = await waiting();
    const answers = await Promise.all([post(ofTenant(asking), mara), post(ofTenant(asking), mara)]);
    expect(answers.map(({ status }) => status).toSorted()).toEqual([200, 409]);
    expect(answers.find(({ status }) => status === 409)?.json).toMatchObject({
      ...{ code: "STATE_TRANSITION", detail: expect.stringContaining("it was answered by test at") },
    });
  });

  test("that is sent again under its Idempotency-Key is the first one", async () => {
    const asking = await waiting();
    const key = { "idempotency-key": randomUUID() };
    const answers = [
      await post(ofTenant(asking), mara, api.keys.write, key),
      await post(ofTenant(asking), mara, api.keys.write, key),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
  });

  test("to each of several questions goes by their ids", async () => {
    const asking = await waiting(api.tenant, [one, other]);
    expect(await post(ofTenant(asking), mara)).toMatchObject({
      status: 400,
      json: { code: "INPUT_INVALID" },
    });
    expect(await post(ofTenant(asking), { ...mara, question: one })).toMatchObject({
      ...{ status: 200, json: { status: "waiting", open: [other] } },
    });
    expect(await post(ofTenant(asking), { answer: { [other]: { name: "B" } } })).toMatchObject({
      ...{ status: 200, json: { status: "pending" } },
    });
  });

  test.each([
    ["of another shape", { answer: "Mara" }, "expected object"],
    ["with a NUL", { answer: { name: "\0" } }, "without NUL"],
    ["to nothing", { ...mara, question: "none" }, "expected the id of a question that the run asks"],
    ["that is none", {}, "body/answer"],
    ["with more to it", { ...mara, by: "me" }, "by"],
  ])("%s is refused", async (_, payload, why) => {
    const { status, json } = await post(ofTenant(await waiting()), payload);
    expect({ status, code: json.code }).toEqual({ status: 400, code: "INPUT_INVALID" });
    expect(JSON.stringify(json)).toContain(why);
  });

  test("to a run that does not wait is a conflict", async () => {
    const running = await started(database.pool, { tenant_id: api.tenant });
    expect(await post(ofTenant(running), mara)).toMatchObject({
      ...{ status: 409, json: { detail: `run ${running.id} waits for no answer: it is running` } },
    });
  });
});
