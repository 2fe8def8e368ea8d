import { z } from "zod";
import { contendedTransaction, type Db, execute, many, maybeOne, type Pool } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { misfit, unkeepable } from "./answer-schema.ts";
import { wakeWorkers } from "./enqueue.ts";
import { type Question, questionsOf } from "./questions.ts";
import { Status } from "./states.ts";
import { unasked } from "./waiting.ts";

/** What a person says: to the one question that a run asks, or to each by its id. */
export type Given =
  | { readonly kind: "one"; readonly answer: unknown }
  | { readonly kind: "each"; readonly answers: Readonly<Record<string, unknown>> };

/** The ids of questions are of a form that nobody answers by chance: an object of these alone answers each of them. */
const questionId = /^[0-9a-f]{32}$/;

/** An answer to the question of that id; without one, to each whose id it names, or to the only one. */
export function givenBy(answer: unknown, question: string | undefined): Given {
  if (question !== undefined) return { kind: "each", answers: { [question]: answer } };
  const isObject = typeof answer === "object" && answer !== null && !Array.isArray(answer);
  const answers = isObject ? Object.entries(answer) : [];
  const byId = answers.length > 0 && answers.every(([key]) => questionId.test(key));
  return byId ? { kind: "each", answers: Object.fromEntries(answers) } : { kind: "one", answer };
}

/** The status of the run now; it waits on while questions are open. */
export type Answered = { readonly id: string; readonly status: Status; readonly open: readonly string[] };

const Found = z.object({ status: Status });

/**
 * Answers a run that waits. Each question is answered once: of two answers at a time one is kept. When all are answered,
 * the run is pending, with all its attempts, and goes on where it stopped; one of its key that was pending is cancelled,
 * for it does its work.
 *
 * Throws NOT_FOUND, STATE_TRANSITION where it does not wait or the question was answered, and INPUT_INVALID where the
 * answer does not fit.
 */
export async function answerRun(
  pool: Pool,
  run: { readonly tenant_id: string; readonly id: string },
  given: Given,
  by: string,
): Promise<Answered> {
  return await contendedTransaction(pool, async (db) => {
    const { tenant_id, id } = run;
    const found = await maybeOne(db, Found, findSql, [tenant_id, id]);
    if (found === undefined) throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no run ${id}`);
    const questions = await questionsOf(db, tenant_id, id);
    if (found.status !== "waiting") throw notWaiting(id, found.status, questions);
    await storeAnswers(db, run, answersFor(id, questions, given), by);
    return await goOn(db, run);
  });
}

const findSql = "select status from pipeline_runs where tenant_id = $1 and id = $2 for update";

/** Who answered last is told, so that whoever comes second knows why. */
function notWaiting(id: string, status: Status, questions: readonly Question[]): LoregraphError {
  const last = questions.findLast(({ answered_at }) => answered_at !== null);
  const when = last ? `; it was answered by ${last.answered_by} at ${last.answered_at?.toISOString()}` : "";
  return refusal(`run ${id} waits for no answer: it is ${status}${when}`);
}

function answersFor(id: string, questions: readonly Question[], given: Given): ReadonlyMap<string, unknown> {
  const open = questions.filter(({ answered_at }) => answered_at === null);
  const answers = given.kind === "one" ? soleAnswer(id, open, given.answer) : Object.entries(given.answers);
  for (const [question, answer] of answers)
    assertFits(
      questions.find((q) => q.id === question),
      question,
      answer,
    );
  return new Map(answers);
}

function soleAnswer(id: string, open: readonly Question[], answer: unknown): [string, unknown][] {
  if (open.length === 1) return open.map((question) => [question.id, answer]);
  const asked = open.map((question) => `${question.id} (${brief(question.question)})`).join(", ");
  throw invalid(
    `run ${id} asks several questions; expected an answer by the id of one or each of them: ${asked}`,
  );
}

function brief(question: unknown): string {
  const text = JSON.stringify(question) ?? "null";
  return text.length > 60 ? `${text.slice(0, 59)}…` : text;
}

function assertFits(question: Question | undefined, id: string, answer: unknown): void {
  if (question === undefined) throw invalid(`expected the id of a question that the run asks, got: ${id}`);
  if (question.answered_at !== null)
    throw refusal(
      `question ${id} was answered by ${question.answered_by} at ${question.answered_at.toISOString()}`,
    );
  const why = unkeepable(answer) ?? misfit(question.answer_schema, answer);
  if (why) throw invalid(`the answer does not fit what question ${id} asks for:\n${why}`);
}

function refusal(message: string): LoregraphError {
  return new LoregraphError("STATE_TRANSITION", message);
}

function invalid(message: string): LoregraphError {
  return new LoregraphError("INPUT_INVALID", message);
}

type RunId = { readonly tenant_id: string; readonly id: string };

async function storeAnswers(
  db: Db,
  { tenant_id, id }: RunId,
  answers: ReadonlyMap<string, unknown>,
  by: string,
): Promise<void> {
  const texts = [...answers.values()].map((answer) => JSON.stringify(answer ?? null));
  await execute(db, storeSql, [tenant_id, id, [...answers.keys()], texts, by]);
}

const storeSql = `
  update questions set answer = given.answer::jsonb, answered_at = now(), answered_by = $5
  from unnest($3::text[], $4::text[]) as given (id, answer)
  where tenant_id = $1 and run_id = $2 and questions.id = given.id and answered_at is null`;

const Open = z.object({ id: z.string() });

/** Makes a run that waits pending once no question of it is open. */
export async function goOn(db: Db, { tenant_id, id }: RunId): Promise<Answered> {
  const open = await many(db, Open, openSql, [tenant_id, id]);
  if (open.length > 0) return { id, status: "waiting", open: open.map((question) => question.id) };
  const taken = await maybeOne(db, Taken, takenSql, [tenant_id, id]);
  if (taken) await execute(db, giveUpSql, [tenant_id, taken.id, `run ${id} was answered, and does its work`]);
  await execute(db, goOnSql, [tenant_id, id, JSON.stringify(taken ?? {})]);
  await wakeWorkers(db);
  return { id, status: "pending", open: [] };
}

const openSql = `
  select id from questions where tenant_id = $1 and run_id = $2 and answered_at is null order by asked_at, nth`;

/** The run of the same key that is pending. */
const Taken = z.object({
  id: z.guid(),
  source_version: z.int(),
  priority: z.int(),
  force: z.boolean(),
  for_reingest: z.boolean(),
});

const takenSql = `
  select pending.id, pending.source_version, pending.priority, pending.force,
    pending.reingest_id is not null as for_reingest
  from pipeline_runs run
  join pipeline_runs pending on pending.status = 'pending'
    and pending.tenant_id = run.tenant_id and pending.pipeline = run.pipeline
    and pending.source_type = run.source_type and pending.source_id = run.source_id
  where run.tenant_id = $1 and run.id = $2
  for update of pending`;

// It leaves its reingest, which counts it as one that somebody else wanted.
const giveUpSql = `
  update pipeline_runs set status = 'cancelled', finished_at = now(), reingest_id = null,
    error_code = 'CANCELLED', error_message = $3
  where tenant_id = $1 and id = $2 and status = 'pending'`;

const goOnSql = `
  update pipeline_runs run set
    status         = 'pending', ${unasked}, attempt = 0, run_after = now(),
    source_version = greatest(run.source_version, taken.source_version),
    priority       = greatest(run.priority, taken.priority),
    force          = run.force or coalesce(taken.force, false),
    reingest_id    = case when coalesce(taken.for_reingest, true) then run.reingest_id end
  from jsonb_to_record($3::jsonb) as taken (
    source_version integer, priority integer, force boolean, for_reingest boolean
  )
  where run.tenant_id = $1 and run.id = $2 and run.status = 'waiting'`;
