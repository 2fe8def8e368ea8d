import { z } from "zod";
import { LoregraphError } from "../../errors.ts";
import { answerRun, givenBy } from "../../ledger/answer.ts";
import { unkeepable } from "../../ledger/answer-schema.ts";
import { HeldBy } from "../../ledger/budgets.ts";
import { cancelRun } from "../../ledger/cancel.ts";
import { findRun, runsPage, tenantOfRun } from "../../ledger/look.ts";
import { Question } from "../../ledger/questions.ts";
import { retryRun } from "../../ledger/retry.ts";
import { Run } from "../../ledger/run.ts";
import { Status } from "../../ledger/states.ts";
import { SourceType } from "../../pipeline.ts";
import { requireKey } from "../auth.ts";
import { readCursor, writeCursor } from "../cursor.ts";
import { found } from "../problem.ts";
import type { App, Services } from "../services.ts";
import { Id, OfOne, OfTenant, Page, PageQuery, shown, Text, Time } from "../shapes.ts";

const ListedRun = Run.extend({
  run_after: Time,
  created_at: Time,
  started_at: Time.nullable(),
  finished_at: Time.nullable(),
  question: z.unknown().describe("What it waits to be told, where it is waiting: the first of its questions"),
  waiting_since: Time.nullable(),
}).meta({ id: "Run" });

const ShownQuestion = Question.extend({
  answer_schema: z.unknown().describe("The JSON Schema that an answer must fit; null where any will do"),
  asked_at: Time,
  expires_at: Time.nullable().describe("When it is answered by itself, with default_answer"),
  refused_because: z.string().nullable().describe("Why the graph refused the answer before, and asks again"),
  answered_at: Time.nullable(),
  answered_by: z.string().nullable().describe("A key's name, whoever used the command line, or expired"),
  set_aside_at: Time.nullable().describe(
    "When the graph started over, so that the answer was of no use any more",
  ),
}).meta({ id: "Question" });

const WholeRun = ListedRun.extend({
  prompt_hash: z.string().nullable(),
  input_hash: z.string().nullable(),
  fingerprint: z.string().nullable().describe("Of the code of its graph"),
  questions: z.array(ShownQuestion).describe("All that it has asked people, in its order"),
  held_by: HeldBy.extend({ spent_until: Time })
    .nullable()
    .describe("The spent budget that it waits for, though it may be due"),
  lease_expires_at: Time.nullable(),
  cancel_requested_at: Time.nullable(),
  cause: z.object({ id: z.int(), event: z.string(), occurred_at: Time }).nullable(),
}).meta({ id: "WholeRun" });

const RunsQuery = PageQuery.extend({
  pipeline: Text.max(100).optional(),
  status: Status.optional(),
  source_type: SourceType.optional(),
  source_id: Id.optional(),
  reingest_id: Id.optional(),
}).describe("A page may hold fewer than `limit`, or none, and have a next: it has looked at 100,000 runs");

const GivenAnswer = z.strictObject({
  answer: z
    .unknown()
    // Before anything walks through it: it may be nested as deeply as a body is long.
    .refine((answer) => unkeepable(answer) === undefined, { error: ({ input }) => unkeepable(input) })
    .describe("Of several questions, an object by their ids answers each; those left out stay open"),
  question: z.string().max(200).optional().describe("The id of one of several questions"),
});

const Answered = z.object({
  id: z.string(),
  status: Status.describe("pending; waiting where other questions of it are open"),
  open: z.array(z.string()).describe("The ids of the questions that are still open"),
});

const Now = z.object({ id: z.string(), status: Status });

export function runRoutes(app: App, { pool }: Services): void {
  const tags = ["runs"];

  app.get(
    "/admin/tenants/:tenant_id/runs",
    {
      config: { scope: "read" },
      schema: {
        summary: "The newest runs that match, newest first",
        tags,
        params: OfTenant,
        querystring: RunsQuery,
        response: { 200: Page(ListedRun) },
      },
    },
    async ({ params, query }) => {
      const { limit, cursor, ...asked } = query;
      const range = { limit, before: readCursor(z.guid(), cursor) };
      const { items, next } = await runsPage(pool, { ...params, ...asked, entity: entityOf(asked) }, range);
      return { items: shown(items), next: next && writeCursor(next) };
    },
  );

  app.get(
    "/admin/tenants/:tenant_id/runs/:id",
    {
      config: { scope: "read" },
      schema: { summary: "A run, whole", tags, params: OfOne, response: { 200: WholeRun } },
    },
    async ({ params: { tenant_id, id } }) => shown(found(await findRun(pool, tenant_id, id), `run ${id}`)),
  );

  app.post(
    "/admin/tenants/:tenant_id/runs/:id/retry",
    {
      config: { scope: "write" },
      schema: {
        summary: "Try a dead letter again, with all its attempts",
        tags,
        params: OfOne,
        response: { 200: Now },
      },
    },
    async ({ params: { tenant_id, id } }) => {
      await retryRun(pool, tenant_id, id);
      return { id, status: "pending" as const };
    },
  );

  app.post(
    "/admin/tenants/:tenant_id/runs/:id/cancel",
    {
      config: { scope: "write" },
      schema: {
        summary: "Cancel a run",
        tags,
        params: OfOne,
        response: { 200: Now, 202: Now.describe("It runs: its worker was told to abort it") },
      },
    },
    async ({ params: { tenant_id, id } }, reply) => {
      const status = await cancelRun(pool, tenant_id, id);
      return reply.code(status === "running" ? 202 : 200).send({ id, status });
    },
  );

  const answer = {
    summary: "Answer a run that waits for a person: it goes on where it stopped",
    tags,
    body: GivenAnswer,
    response: { 200: Answered },
  };

  app.post(
    "/admin/tenants/:tenant_id/runs/:id/answer",
    { config: { scope: "write" }, schema: { ...answer, params: OfOne } },
    async ({ params, body, key }) =>
      shown(await answerRun(pool, params, givenBy(body.answer, body.question), requireKey(key).name)),
  );

  app.post(
    "/admin/runs/:id/answer",
    { config: { scope: "admin" }, schema: { ...answer, params: OfOne.pick({ id: true }) } },
    async ({ params: { id }, body, key }) => {
      const tenant_id = found(await tenantOfRun(pool, id), `run ${id}`);
      return shown(
        await answerRun(pool, { tenant_id, id }, givenBy(body.answer, body.question), requireKey(key).name),
      );
    },
  );
}

function entityOf({ source_type, source_id }: Pick<z.infer<typeof RunsQuery>, "source_type" | "source_id">) {
  if (source_type && source_id) return { source_type, source_id };
  if (!source_type && !source_id) return undefined;
  throw new LoregraphError("INPUT_INVALID", "an entity is named by source_type and source_id together");
}
