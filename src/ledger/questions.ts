import { z } from "zod";
import { type Db, execute, many } from "../db.ts";
import { leaseValues } from "./lease.ts";
import type { ClaimedRun, Lease } from "./run.ts";

/** A question that a graph asks a person. */
export type NewQuestion = {
  /** Unlike that of any other question of its run, also of one whose graph started over. */
  readonly id: string;
  readonly question: unknown;
  /** The JSON Schema that an answer must fit. Defaults to any answer. */
  readonly answer_schema?: unknown;
  /** After how many hours it is answered by itself, and what. Defaults to never. */
  readonly expiry?: { readonly hours: number; readonly answer: unknown } | undefined;
  /** Why the graph refused the answer that it was given before. */
  readonly refused_because?: string | undefined;
};

/** What a run whose graph stopped asks. */
export type Asking = {
  readonly run: Pick<ClaimedRun, "tenant_id" | "id">;
  readonly questions: readonly NewQuestion[];
};

const Asked = z.object({ run_id: z.guid() });

/**
 * Stores what runs ask that have just begun to wait. A question that is asked again loses the answer it had.
 *
 * @returns the ids of the runs that do wait: one that was to be cancelled was, and asks nothing.
 */
export async function askQuestions(db: Db, asking: readonly Asking[]): Promise<ReadonlySet<string>> {
  if (asking.length === 0) return new Set();
  const rows = asking.flatMap(({ run, questions }) =>
    questions.map((question, nth) => ({
      ...columnsOf(question),
      tenant_id: run.tenant_id,
      run_id: run.id,
      nth,
    })),
  );
  const asked = await many(db, Asked, askSql, [JSON.stringify(rows)]);
  return new Set(asked.map(({ run_id }) => run_id));
}

// As text: what is JSON's null would be none in a column of records.
function columnsOf({ id, question, answer_schema, expiry, refused_because }: NewQuestion) {
  return {
    id,
    question: JSON.stringify(question ?? null),
    answer_schema,
    default_answer: expiry && JSON.stringify(expiry.answer ?? null),
    hours: expiry?.hours,
    refused_because,
  };
}

const askSql = `
  insert into questions
    (tenant_id, run_id, id, nth, question, answer_schema, default_answer, expires_at, refused_because)
  select tenant_id, run_id, given.id, nth, given.question::jsonb, answer_schema, default_answer::jsonb,
    now() + hours * interval '1 hour', refused_because
  from jsonb_to_recordset($1) as given (
    tenant_id uuid, run_id uuid, id text, nth integer, question text, answer_schema jsonb, default_answer text,
    hours double precision, refused_because text
  )
  join pipeline_runs run using (tenant_id)
  where run.id = given.run_id and run.status = 'waiting'
  on conflict (tenant_id, run_id, id) do update set
    nth = excluded.nth, question = excluded.question, answer_schema = excluded.answer_schema, asked_at = now(),
    default_answer = excluded.default_answer, expires_at = excluded.expires_at,
    refused_because = excluded.refused_because, answer = null, answered_at = null, answered_by = null, set_aside_at = null
  returning run_id`;

/** A question with what became of it, as people read it. */
export const Question = z.object({
  id: z.string(),
  question: z.unknown(),
  /** The JSON Schema that an answer must fit, or null where any will do. */
  answer_schema: z.unknown(),
  asked_at: z.coerce.date(),
  /** When it is answered by itself, with `default_answer`. */
  expires_at: z.coerce.date().nullable(),
  default_answer: z.unknown(),
  /** Why the graph refused the answer before, and asks the same again. */
  refused_because: z.string().nullable(),
  answer: z.unknown(),
  answered_at: z.coerce.date().nullable(),
  /** The name of a key, of whoever used the command line, or `expired`. */
  answered_by: z.string().nullable(),
  /** When the graph started over, so that the answer was of no use any more. */
  set_aside_at: z.coerce.date().nullable(),
});
export type Question = z.infer<typeof Question>;

/** All that a run has asked, in its order. */
export async function questionsOf(db: Db, tenant_id: string, run_id: string): Promise<readonly Question[]> {
  return await many(
    db,
    Question,
    "select * from questions where tenant_id = $1 and run_id = $2 order by asked_at, nth",
    [tenant_id, run_id],
  );
}

const Answer = z.object({ id: z.string(), answer: z.unknown() });

/** What a run was told, by the ids of its questions. It stays: whoever goes on with the run may need it again. */
export async function answersTo(
  db: Db,
  { tenant_id, id }: Pick<Lease, "tenant_id" | "id">,
): Promise<ReadonlyMap<string, unknown>> {
  const rows = await many(
    db,
    Answer,
    `select id, answer from questions
     where tenant_id = $1 and run_id = $2 and answered_at is not null and set_aside_at is null`,
    [tenant_id, id],
  );
  return new Map(rows.map(({ id, answer }) => [id, answer]));
}

/** Notes that the graph of a run starts over: what it was told before will not be used. Only who holds the run may. */
export async function setAnswersAside(db: Db, lease: Lease): Promise<number> {
  return await execute(
    db,
    `update questions set set_aside_at = now()
     from pipeline_runs run
     where run.tenant_id = $1 and run.id = $2 and run.lease_token = $3
       and questions.tenant_id = run.tenant_id and questions.run_id = run.id
       and answered_at is not null and set_aside_at is null`,
    leaseValues(lease),
  );
}
