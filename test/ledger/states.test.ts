import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { one } from "../../src/db.ts";
import { errorCodes } from "../../src/errors.ts";
import { assertTransition, Status, transitions } from "../../src/ledger/states.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

type Columns = Readonly<Record<string, unknown>>;

const now = new Date();
const empty: Columns = {
  lease_token: null,
  lease_expires_at: null,
  worker: null,
  started_at: null,
  graph_started_at: null,
  cancel_requested_at: null,
  finished_at: null,
  outcome: null,
  error_code: null,
  error_message: null,
  question: null,
  waiting_since: null,
};
const leased = { lease_token: randomUUID(), lease_expires_at: now, worker: "w", started_at: now };

/** What a row must bear in each status, and nothing more. */
const legal: Readonly<Record<Status, Columns>> = {
  pending: { ...empty, status: "pending" },
  running: { ...empty, status: "running", ...leased },
  waiting: { ...empty, status: "waiting", question: '"who?"', waiting_since: now },
  success: { ...empty, status: "success", outcome: "completed", finished_at: now },
  failed: { ...empty, status: "failed", finished_at: now, error_code: "X", error_message: "x" },
  cancelled: { ...empty, status: "cancelled", finished_at: now },
};

async function insertRun(columns: Columns): Promise<string> {
  const row = {
    tenant_id: randomUUID(),
    source_type: "scene",
    source_id: randomUUID(),
    source_version: 1,
    pipeline: "echo",
    max_attempts: 3,
    ...columns,
  };
  const names = Object.keys(row);
  const { id } = await one(
    database.pool,
    z.object({ id: z.uuid() }),
    `insert into pipeline_runs (${names.join(", ")}) values (${names.map((_, i) => `$${i + 1}`).join(", ")}) returning id`,
    Object.values(row),
  );
  return id;
}

async function updateRun(id: string, columns: Columns): Promise<void> {
  const sets = Object.keys(columns).map((name, i) => `${name} = $${i + 2}`);
  await database.pool.query(`update pipeline_runs set ${sets.join(", ")} where id = $1`, [
    id,
    ...Object.values(columns),
  ]);
}

async function refusal(work: Promise<unknown>): Promise<string | undefined> {
  try {
    await work;
    return undefined;
  } catch (error) {
    if (error instanceof Error && "constraint" in error) return String(error.constraint);
    throw error;
  }
}

const pairs = Status.options.flatMap((from) =>
  Status.options.filter((to) => to !== from).map((to) => ({ from, to })),
);

describe("the database allows a transition exactly when the table in code does", () => {
  test.each(pairs)("from $from to $to", async ({ from, to }) => {
    const id = await insertRun(legal[from]);
    const refused = await refusal(updateRun(id, legal[to]));

    expect(refused).toBe(isLegal(from, to) ? undefined : "legal_transition");
  });
});

function isLegal(from: Status, to: Status): boolean {
  const allowed: readonly Status[] = transitions[from];
  return allowed.includes(to);
}

test("an illegal transition is an error that names both states", () => {
  expect(() => assertTransition("success", "running")).toThrow(
    expect.objectContaining({
      code: "STATE_TRANSITION",
      message: "a run cannot go from success to running; from success it may go to nothing: it has ended",
    }),
  );
  expect(() => assertTransition("pending", "running")).not.toThrow();
  expect(errorCodes.STATE_TRANSITION.status).toBe(409);
});

test.each<[string, Columns]>([
  ["running_is_leased", { ...legal.running, lease_token: null }],
  ["running_is_leased", { ...legal.running, lease_expires_at: null }],
  ["running_is_leased", { ...legal.running, worker: null }],
  ["running_is_leased", { ...legal.pending, lease_token: randomUUID() }],
  ["running_is_leased", { ...legal.success, worker: "w" }],
  ["running_is_leased", { ...legal.waiting, lease_expires_at: now }],
  ["running_has_started", { ...legal.running, started_at: null }],
  ["only_running_graphs_started", { ...legal.pending, graph_started_at: now }],
  ["only_running_is_asked_to_cancel", { ...legal.pending, cancel_requested_at: now }],
  ["ended_has_an_end", { ...legal.cancelled, finished_at: null }],
  ["ended_has_an_end", { ...legal.pending, finished_at: now }],
  ["success_has_an_outcome", { ...legal.success, outcome: null }],
  ["success_has_an_outcome", { ...legal.failed, outcome: "completed" }],
  ["failed_says_why", { ...legal.failed, error_code: null }],
  ["failed_says_why", { ...legal.failed, error_message: null }],
  ["waiting_has_a_question", { ...legal.waiting, question: null }],
  ["waiting_has_a_question", { ...legal.pending, question: '"who?"' }],
  ["waiting_has_a_beginning", { ...legal.waiting, waiting_since: null }],
  ["waiting_has_a_beginning", { ...legal.pending, waiting_since: now }],
  ["pipeline_runs_status_check", { ...legal.pending, status: "asleep" }],
  ["pipeline_runs_outcome_check", { ...legal.success, outcome: "splendid" }],
  ["pipeline_runs_attempt_check", { ...legal.pending, attempt: -1 }],
  ["pipeline_runs_max_attempts_check", { ...legal.pending, max_attempts: 0 }],
  ["pipeline_runs_source_version_check", { ...legal.pending, source_version: 0 }],
  ["pipeline_runs_errors_check", { ...legal.pending, errors: "{}" }],
  ["pipeline_runs_cost_usd_check", { ...legal.pending, cost_usd: -1 }],
])("%s refuses a row that breaks it (%#)", async (constraint, columns) => {
  expect(await refusal(insertRun(columns))).toBe(constraint);
});

test.each(["pending", "running"] as const)("refuses a second %s run of one key", async (status) => {
  const key = { tenant_id: randomUUID(), source_id: randomUUID() };
  await insertRun({ ...legal[status], ...key });

  expect(await refusal(insertRun({ ...legal[status], ...key }))).toBe(`one_${status}_run`);
});
