import { Option } from "@commander-js/extra-typings";
import { LoregraphError } from "../../errors.ts";
import { budgetText } from "../../ledger/budgets.ts";
import { cancelRun } from "../../ledger/cancel.ts";
import { findRun, type WholeRun } from "../../ledger/look.ts";
import type { Question } from "../../ledger/questions.ts";
import { listRuns } from "../../ledger/read.ts";
import { retryRun } from "../../ledger/retry.ts";
import type { Run } from "../../ledger/run.ts";
import { Status } from "../../ledger/states.ts";
import { ago, brief, dollars, print, table } from "../output.ts";
import { newCommand, tenantOption, uuid, wholeNumber } from "../program.ts";
import { assertRegistered } from "../registered.ts";
import { withSession } from "../session.ts";
import { theTenant } from "../tenant.ts";

export const command = () =>
  newCommand(
    "runs",
    "list runs, newest first; show, retry or cancel one",
    "loregraph runs --status failed --pipeline dialog-mood --limit 20",
  )
    .enablePositionalOptions() // the commands below it have --tenant and --json, too
    .addOption(tenantOption())
    .option("--pipeline <name>", "only of this pipeline")
    .addOption(new Option("--status <status>", "only in this status").choices(Status.options))
    .option("--entity <uuid>", "only about this entity", uuid("--entity"))
    .option("--limit <n>", "the most runs", wholeNumber("--limit", 1), 50)
    .action(async ({ tenant, pipeline, status, entity, limit, json }) => {
      await withSession(async ({ pool, config }) => {
        const filter = {
          tenant_id: tenant,
          pipeline,
          status: Status.optional().parse(status),
          source_id: entity,
          limit,
        };
        const runs = await listRuns(pool, filter);
        // Without runs, a misspelt pipeline looks like an idle one. Those of one that is gone are shown all the same.
        if (runs.length === 0 && pipeline !== undefined) await assertRegistered(pipeline, config.graphs);
        print(runs, json, asText);
      });
    })
    .addCommand(show())
    .addCommand(retry())
    .addCommand(cancel());

const one = (name: string, summary: string) =>
  newCommand(name, summary, `loregraph runs ${name} 01a1f3c2-7b7e-7c11-9d0a-5f4e2b6a8c31`)
    .argument("<run>", "its id", uuid("the run's id"))
    .addOption(tenantOption());

const show = () =>
  one("show", "show a run with its errors and what it used").action(async (id, { tenant, json }) => {
    await withSession(async ({ pool }) => {
      const tenant_id = await theTenant(pool, tenant);
      const run = await findRun(pool, tenant_id, id);
      if (!run) throw new LoregraphError("NOT_FOUND", `tenant ${tenant_id} has no run ${id}`);
      print(run, json, wholeText);
    });
  });

const retry = () =>
  one("retry", "try a dead letter again, with all its attempts").action(async (id, { tenant, json }) => {
    await withSession(async ({ pool }) => {
      await retryRun(pool, await theTenant(pool, tenant), id);
      print({ id, status: "pending" }, json, () => "it will be tried again");
    });
  });

const cancel = () =>
  one("cancel", "cancel a run").action(async (id, { tenant, json }) => {
    await withSession(async ({ pool }) => {
      const status = await cancelRun(pool, await theTenant(pool, tenant), id);
      const said = status === "running" ? "it runs: its worker was told to abort it" : "cancelled";
      print({ id, status }, json, () => said);
    });
  });

function asText(runs: readonly Run[]): string {
  if (runs.length === 0) return "no runs";
  const head = ["pipeline", "status", "attempt", "age", "cost", "entity"];
  const [heading = "", ...rows] = table(head, runs.map(row)).split("\n");
  return [heading, ...rows.flatMap((line, nth) => [line, ...more(runs[nth])])].join("\n");
}

/** What there is to know of a run that did not succeed, or has not yet. */
function more(run: Run | undefined): readonly string[] {
  if (!run || run.status === "success") return [];
  if (run.waiting_since) {
    const question = brief(JSON.stringify(run.question), 140);
    return [`  run ${run.id}`, `  asks, since ${ago(run.waiting_since)}: ${question}`];
  }
  const why = run.error_message ? [`  ${run.error_code}: ${brief(run.error_message, 140)}`] : [];
  return [`  run ${run.id}`, ...why];
}

function row(run: Run): readonly (string | number)[] {
  return [
    run.pipeline,
    run.outcome ?? run.status,
    `${run.attempt}/${run.max_attempts}`,
    ago(run.created_at),
    dollars(run.cost_usd),
    `${run.source_type} ${run.source_id}`,
  ];
}

function wholeText(run: WholeRun): string {
  const lines: readonly (readonly [string, string | number | null | undefined])[] = [
    ["about", `${run.source_type} ${run.source_id}, version ${run.source_version}`],
    ["tenant", run.tenant_id],
    ["attempt", `${run.attempt} of ${run.max_attempts}`],
    ["worker", run.worker],
    ["due", run.status === "pending" ? run.run_after.toISOString() : null],
    ["waits", run.held_by && budgetText(run.held_by)],
    ["made", run.created_at.toISOString()],
    ["started", run.started_at?.toISOString()],
    ["ended", run.finished_at?.toISOString()],
    ["by", run.model && `${run.model}, pipeline version ${run.pipeline_version}`],
    ["cause", run.cause && `${run.cause.event} ${run.cause.id}, ${run.cause.occurred_at.toISOString()}`],
    ["parent", run.parent_run_id],
    ["reingest", run.reingest_id],
    ["cost", dollars(run.cost_usd)],
    ["calls", `${run.model_calls} of models, ${run.embedding_calls} for embeddings`],
    ["tokens", `${run.tokens_in} in, ${run.tokens_out} out, ${run.embedding_tokens} embedded`],
  ];
  const known = lines.flatMap(([name, value]) => (value == null ? [] : [`${name.padEnd(8)}  ${value}`]));
  const errors = run.errors.map(({ attempt, at, code, message }) =>
    [`attempt ${attempt}, ${at}: ${code}`, `  ${brief(message, 400)}`].join("\n"),
  );
  const title = `${run.pipeline} ${run.outcome ?? run.status}, run ${run.id}`;
  return [title, ...known, ...run.questions.map(questionText), ...errors].join("\n");
}

function questionText({ id, question, answer, answer_schema, ...about }: Question): string {
  const { asked_at, expires_at, default_answer, answered_at, answered_by, set_aside_at, refused_because } =
    about;
  const json = (value: unknown) => brief(JSON.stringify(value), 400);
  const lines = [
    `question ${id}, asked ${ago(asked_at)} ago`,
    json(question),
    ...(answer_schema ? [`expects ${json(answer_schema)}`] : []),
    ...(refused_because
      ? [`asked again, as the graph refused the answer: ${brief(refused_because, 200)}`]
      : []),
    ...(answered_at ? [`answered by ${answered_by}, ${ago(answered_at)} ago: ${json(answer)}`] : []),
    ...(set_aside_at
      ? ["set aside: what it is about, or its pipeline, had changed, and the graph started over"]
      : []),
    ...(expires_at && !answered_at
      ? [`${expires_at.toISOString()}: answered by itself: ${json(default_answer)}`]
      : []),
  ];
  return lines.join("\n  ");
}
