import { LoregraphError } from "../../errors.ts";
import { budgetText, type HeldBudget, listSpentBudgets } from "../../ledger/budgets.ts";
import { type Cause, listCauses } from "../../ledger/causes.ts";
import { listPaused, type Paused } from "../../ledger/controls.ts";
import { countOpenRuns, type Tally, tallyRuns } from "../../ledger/read.ts";
import { type LiveWorker, listWorkers } from "../../ledger/workers.ts";
import { listModelStates, type ModelState } from "../../models/limits/turns.ts";
import { countEntities, type TypeCount } from "../../store/entities.ts";
import { listUnaccepted, type Unaccepted } from "../../versions/recorded.ts";
import { ago, brief, dollars, print, table } from "../output.ts";
import { newCommand, tenantOption } from "../program.ts";
import { withSession } from "../session.ts";

type Status = {
  readonly tenant_id: string | null;
  readonly entities: readonly TypeCount[];
  readonly runs: readonly Tally[];
  readonly pending: number;
  readonly running: number;
  /** Pending runs that wait for a spent budget; they are not among `pending`. */
  readonly held: number;
  readonly paused: readonly Paused[];
  readonly budgets_spent: readonly HeldBudget[];
  readonly dead_letters: readonly Cause[];
  readonly workers: readonly LiveWorker[];
  /** Pipelines whose code changed without a new version, as workers last ran it. */
  readonly changed: readonly Unaccepted[];
  readonly models: readonly ModelState[];
};

export const command = () =>
  newCommand(
    "status",
    "show what there is, what waits, what failed and what it cost",
    "loregraph status --tenant <uuid>",
  )
    .addOption(tenantOption())
    .option("--stale", "what made the outputs there are, and how many are older than what runs now")
    .option("--pipeline <name>", "with --stale: only of this pipeline")
    .action(async ({ tenant, stale, pipeline, json }) => {
      if (pipeline !== undefined && !stale)
        throw new LoregraphError("INPUT_INVALID", "--pipeline is a filter of --stale; name both");
      await withSession(async (session) => {
        if (stale) {
          const { showStamps } = await import("../stamps-text.ts"); // loads all graphs
          return await showStamps(session, { tenant_id: tenant, pipeline }, json);
        }
        const { pool } = session;
        const [entities, runs, open, paused, budgets_spent, dead_letters, workers, changed, models] =
          await Promise.all([
            countEntities(pool, tenant),
            tallyRuns(pool, tenant),
            countOpenRuns(pool, { tenant_id: tenant }),
            listPaused(pool, tenant),
            listSpentBudgets(pool, tenant),
            listCauses(pool, { tenant_id: tenant }),
            listWorkers(pool),
            listUnaccepted(pool),
            listModelStates(pool),
          ]);
        const why = { paused, budgets_spent, changed };
        const seen = { entities, runs, ...open, ...why, dead_letters, workers, models };
        print<Status>({ tenant_id: tenant ?? null, ...seen }, json, asText);
      });
    });

function asText({
  entities,
  runs,
  pending,
  running,
  held,
  dead_letters,
  workers,
  models,
  ...status
}: Status): string {
  const why = heldTexts(status);
  if (entities.length === 0)
    return ["nothing has been imported yet; try `npx loregraph demo`", ...why].join("\n\n");
  return [
    table(
      ["entities", "count", "characters"],
      entities.map((e) => [e.source_type, e.entities, e.characters]),
    ),
    table(["pipeline", "runs", "model calls", "embeddings", "reused", "cost"], runs.map(runRow)),
    `${pending} pending, ${running} running, ${held > 0 ? `${held} held by a spent budget, ` : ""}${workers.length} workers${workers.map(workerText).join("")}`,
    ...(models.length > 0 ? [models.map(modelText).join("\n")] : []),
    ...why,
    ...(dead_letters.length > 0 ? [deadText(dead_letters)] : []),
  ].join("\n\n");
}

function runRow(tally: Tally): readonly (string | number)[] {
  const how = tally.outcome && tally.outcome !== "completed" ? tally.outcome : tally.status;
  const { model_calls, embedding_calls, vectors_reused, cost_usd } = tally;
  return [
    tally.pipeline,
    `${tally.runs} ${how}`,
    model_calls,
    embedding_calls,
    vectors_reused,
    dollars(cost_usd),
  ];
}

function workerText({ worker, seen_at, concurrency }: LiveWorker): string {
  return `\n  ${worker}, ${concurrency} slots, seen ${ago(seen_at)} ago`;
}

/** How a model takes what is asked of it, on one line. */
function modelText({
  model,
  state,
  until,
  calls_per_minute,
  in_flight,
  waiting,
  refusals,
}: ModelState): string {
  const said = {
    open: `fails and is not asked before ${until?.toISOString()}`,
    paused: `is not asked before ${until?.toISOString()}, as it said`,
    limited: `is asked up to ${calls_per_minute} times a minute`,
    free: "is asked without a limit",
  }[state];
  return `model ${model} ${said}\n  ${in_flight} under way, ${waiting} waiting, ${refusals} refused so far`;
}

/** What holds work back. */
function heldTexts({
  paused,
  budgets_spent,
  changed,
}: Pick<Status, "paused" | "budgets_spent" | "changed">): readonly string[] {
  return [
    ...(paused.length > 0 ? [pausedText(paused)] : []),
    ...(budgets_spent.length > 0 ? [spentText(budgets_spent)] : []),
    ...(changed.length > 0 ? [unacceptedText(changed)] : []),
  ];
}

function spentText(budgets: readonly HeldBudget[]): string {
  const lines = budgets
    .slice(0, most)
    .map((budget) => `  tenant ${budget.tenant_id}\n    ${budgetText(budget)}`);
  const more = budgets.length > most ? [`  … and ${budgets.length - most} more; --json has all`] : [];
  return ["waiting (`loregraph budget set` with more lets it go on)", ...lines, ...more].join("\n");
}

/** The most lines of what is paused. */
const most = 20;

function pausedText(paused: readonly Paused[]): string {
  const lines = paused
    .slice(0, most)
    .map(({ kind, name, since, because }) =>
      [`  ${kind} ${name}`, ...(since ? [`${ago(since)} ago`] : []), ...(because ? [because] : [])].join(
        ", ",
      ),
    );
  const more = paused.length > most ? [`  … and ${paused.length - most} more; --json has all`] : [];
  return [
    "paused (`loregraph resume`, `loregraph reingest resume` start them again)",
    ...lines,
    ...more,
  ].join("\n");
}

function unacceptedText(changed: readonly Unaccepted[]): string {
  const rows = changed.map(
    ({ pipeline, version, first_seen }) => `  ${pipeline}, version ${version}, since ${ago(first_seen)}`,
  );
  return ["changed without a new version (`loregraph check` says what to do)", ...rows].join("\n");
}

function deadText(letters: readonly Cause[]): string {
  const rows = letters.map(
    (d) => `  ${d.runs} of ${d.pipeline}: ${d.error_code}\n    ${brief(d.error_message, 140)}`,
  );
  return ["dead letters (`loregraph dead-letters redrive` tries them again)", ...rows].join("\n");
}
