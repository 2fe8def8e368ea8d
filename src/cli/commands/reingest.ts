import { setTimeout as delay } from "node:timers/promises";
import { Option } from "@commander-js/extra-typings";
import { LoregraphError } from "../../errors.ts";
import { IdempotencyKey } from "../../http/idempotency.ts";
import { listWorkers } from "../../ledger/workers.ts";
import { planReingest } from "../../reingest/plan.ts";
import { type Progress, progressOf } from "../../reingest/progress.ts";
import {
  findReingest,
  listReingests,
  type Reingest,
  type ReingestKey,
  type ReingestView,
  viewOf,
} from "../../reingest/reingest.ts";
import { Only, ReingestRequest } from "../../reingest/request.ts";
import { startReingest } from "../../reingest/start.ts";
import { hasEnded, ReingestStatus } from "../../reingest/states.ts";
import { cancelReingest, type Limits, pauseReingest, resumeReingest } from "../../reingest/steer.ts";
import { exitCodes } from "../exit-codes.ts";
import { ago, dollars, print, table } from "../output.ts";
import { planText, span } from "../plan-text.ts";
import { list, newCommand, tenantOption, uuid, wholeNumber } from "../program.ts";
import { progressOf as openBar } from "../progress.ts";
import { openRuntime } from "../runtime.ts";
import { aborted, type Session, withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "reingest",
    "run a tenant again, or a part of it; or list, watch and steer that",
    "loregraph reingest --tenant <uuid> --types story,character --batch 100 --dry-run",
  )
    // Else its own --tenant and --json would be taken from what stands after a subcommand.
    .enablePositionalOptions()
    .addOption(tenantOption())
    .option("--types <types>", "only entities of these types", list("--types"))
    .option("--batch <n>", "entities a page", wholeNumber("--batch", 1))
    .option("--dry-run", "plan only: no model is called and nothing is enqueued")
    .option("--pipelines <names>", "only these enrichers, from what base stored", list("--pipelines"))
    .addOption(new Option("--only <which>", "only outputs that are").choices(Only.options))
    .option("--stale", "the same as --only stale")
    .option(
      "--stale-version <n>",
      "of the named pipeline, only what this version made",
      wholeNumber("--stale-version", 1),
    )
    .option("--force", "run even what has not changed")
    .option("--since <moment>", "only entities that changed since, such as 2026-01-31")
    .option("--ids <uuids>", "only these entities", list("--ids"))
    .option("--priority <n>", "higher ones come first; -100 where absent", number("--priority"))
    .option("--source <name>", "who names the entities: local or main-service")
    .option("--key <key>", "the same key and request again start nothing new", idempotencyKey)
    .option("--watch", "show its progress until it ends")
    .option(...maxCost)
    .option(...maxTokens)
    .option(...maxRate)
    .action(async (options) => {
      await withSession((session) => start(session, options));
    })
    .addCommand(listing())
    .addCommand(status())
    .addCommand(steering("pause", "start none of its runs any more", pauseReingest))
    .addCommand(resume())
    .addCommand(steering("cancel", "cancel what waits and abort what runs", cancelReingest));

const maxCost = ["--max-cost <usd>", "pause it when it has cost so much", number("--max-cost")] as const;
const maxTokens = [
  "--max-tokens <n>",
  "pause it when it has used so many",
  wholeNumber("--max-tokens", 1),
] as const;
const maxRate = [
  "--max-runs-per-minute <n>",
  "start no more than this",
  wholeNumber("--max-runs-per-minute", 1),
] as const;

const listing = () =>
  newCommand("list", "list reingests, newest first", "loregraph reingest list")
    .addOption(tenantOption())
    .addOption(new Option("--status <status>", "only those that are").choices(ReingestStatus.options))
    .option("--limit <n>", "the most of them", wholeNumber("--limit", 1), 20)
    .action(async ({ tenant, status, limit, json }) => {
      await withSession(async ({ pool }) =>
        print((await listReingests(pool, { tenant_id: tenant, status, limit })).map(viewOf), json, listText),
      );
    });

const status = () =>
  newCommand("status", "show how far a reingest is", "loregraph reingest status <id> --watch")
    .argument("<id>", "the reingest's id", uuid("id"))
    .addOption(tenantOption())
    .option("--watch", "show its progress until it ends")
    .action(async (id, { tenant, watch: watching, json }) => {
      await withSession(async (session) => {
        const key = await keyOf(session, id, tenant);
        if (watching) await watch(session, key, json);
        else print(await progressOf(session.pool, key), json, progressText);
      });
    });

type Steer = (context: Awaited<ReturnType<typeof openRuntime>>, key: ReingestKey) => Promise<Reingest>;

const steering = (verb: string, summary: string, steer: Steer) =>
  newCommand(verb, `${verb} a reingest: ${summary}`, `loregraph reingest ${verb} <id>`)
    .argument("<id>", "the reingest's id", uuid("id"))
    .addOption(tenantOption())
    .action(async (id, { tenant, json }) => {
      await withSession(async (session) => {
        const key = await keyOf(session, id, tenant);
        print(viewOf(await steer(await openRuntime(session), key)), json, statusLine);
      });
    });

const resume = () =>
  newCommand(
    "resume",
    "resume a paused reingest, under higher limits where some are given",
    "loregraph reingest resume <id> --max-cost 20",
  )
    .argument("<id>", "the reingest's id", uuid("id"))
    .addOption(tenantOption())
    .option(...maxCost)
    .option(...maxTokens)
    .option(...maxRate)
    .action(async (id, { tenant, json, ...limits }) => {
      await withSession(async (session) => {
        const key = await keyOf(session, id, tenant);
        const resumed = await resumeReingest(await openRuntime(session), key, limitsOf(limits));
        print(viewOf(resumed), json, statusLine);
        await warnWithoutWorkers(session);
      });
    });

type LimitOptions = {
  readonly maxCost?: number | undefined;
  readonly maxTokens?: number | undefined;
  readonly maxRunsPerMinute?: number | undefined;
};

function limitsOf(options: LimitOptions): Limits {
  const shape = ReingestRequest.pick({ max_cost_usd: true, max_tokens: true, max_runs_per_minute: true });
  return parsed(shape, limitFields(options));
}

function limitFields({ maxCost, maxTokens, maxRunsPerMinute }: LimitOptions) {
  return { max_cost_usd: maxCost, max_tokens: maxTokens, max_runs_per_minute: maxRunsPerMinute };
}

type StartOptions = LimitOptions & {
  readonly tenant?: string | undefined;
  readonly types?: readonly string[] | undefined;
  readonly batch?: number | undefined;
  readonly dryRun?: true | undefined;
  readonly pipelines?: readonly string[] | undefined;
  readonly only?: string | undefined;
  readonly stale?: true | undefined;
  readonly staleVersion?: number | undefined;
  readonly force?: true | undefined;
  readonly since?: string | undefined;
  readonly ids?: readonly string[] | undefined;
  readonly priority?: number | undefined;
  readonly source?: string | undefined;
  readonly key?: string | undefined;
  readonly watch?: true | undefined;
  readonly json?: true | undefined;
};

async function start(session: Session, options: StartOptions): Promise<void> {
  const { tenant, key, json } = options;
  if (tenant === undefined) throw new LoregraphError("INPUT_INVALID", "expected --tenant, got: none");
  const request = requestOf(options);
  if (request.source === "main-service") assertMainService(session);
  const context = await openRuntime(session);
  if (request.dry_run) return print(await planReingest(context, tenant, request), json, planText);
  const started = await startReingest(context, tenant, request, { key });
  await warnWithoutWorkers(session);
  if (options.watch) {
    process.stderr.write(`reingest ${started.reingest.id}\n`);
    return await watch(session, started.reingest, json);
  }
  const { reingest, counts, filters, is_new } = started;
  print({ id: reingest.id, status: reingest.status, counts, filters, is_new }, json, ({ id }) =>
    [
      `${id} ${is_new ? "was started" : `was started before; it is ${reingest.status}`}: ${counts.run} to run, ${counts.skipped} unchanged`,
      `to watch it: npx loregraph reingest status ${id} --watch`,
    ].join("\n"),
  );
}

/** The option that each field of a request is given by. */
const optionOf: Readonly<Record<string, string>> = {
  batch_size: "--batch",
  changed_since: "--since",
  max_cost_usd: "--max-cost",
  max_tokens: "--max-tokens",
  max_runs_per_minute: "--max-runs-per-minute",
};

function requestOf({
  batch,
  dryRun,
  since,
  types,
  pipelines,
  only,
  stale,
  staleVersion,
  ids,
  ...rest
}: StartOptions): ReingestRequest {
  if (stale && only !== undefined && only !== "stale")
    throw new LoregraphError("INPUT_INVALID", `--stale means --only stale, got: --only ${only} too`);
  const { force, priority, source } = rest;
  return parsed(ReingestRequest, {
    types,
    pipelines,
    ids,
    only: stale ? "stale" : only,
    stale_version: staleVersion,
    force,
    priority,
    source,
    batch_size: batch,
    dry_run: dryRun,
    changed_since: since === undefined ? undefined : moment(since),
    ...limitFields(rest),
  });
}

/** A day is meant from its first moment on, in UTC. */
function moment(text: string): string {
  const at = new Date(text);
  return Number.isNaN(at.getTime()) ? text : at.toISOString();
}

type Shape<Value> = {
  safeParse(
    given: unknown,
  ):
    | { readonly success: true; readonly data: Value }
    | { readonly success: false; readonly error: { readonly issues: readonly Issue[] } };
};
type Issue = { readonly path: readonly PropertyKey[]; readonly message: string };

/** Names each option that was refused. */
function parsed<Value>(shape: Shape<Value>, given: object): Value {
  const read = shape.safeParse(withoutAbsent(given));
  if (read.success) return read.data;
  const refused = read.error.issues.map(({ path, message }) => {
    const field = String(path[0]);
    return `${optionOf[field] ?? `--${field.replaceAll("_", "-")}`}: ${message}`;
  });
  throw new LoregraphError("INPUT_INVALID", refused.join("; "));
}

function withoutAbsent(given: object): object {
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

/** An empty one, as of a variable that is not set, would make every such call the same. */
function idempotencyKey(value: string): string {
  const key = IdempotencyKey.safeParse(value);
  if (key.success) return key.data;
  throw new LoregraphError("INPUT_INVALID", `--key: ${key.error.issues[0]?.message}`);
}

function number(what: string) {
  return (value: string): number => {
    const read = Number(value);
    if (value.trim() !== "" && Number.isFinite(read)) return read;
    throw new LoregraphError("INPUT_INVALID", `expected ${what} to be a number, got: ${value}`);
  };
}

function assertMainService({ config }: Session): void {
  if (config.mainService.url !== undefined) return;
  throw new LoregraphError("CONFIG_INVALID", "--source main-service needs LOREGRAPH_MAIN_SERVICE_URL");
}

/** An id is enough; a tenant that is named must be the one it is of. */
async function keyOf({ pool }: Session, id: string, tenant: string | undefined): Promise<ReingestKey> {
  if (tenant !== undefined) return { tenant_id: tenant, id };
  const { tenant_id } = await findReingest(pool, id);
  return { tenant_id, id };
}

async function warnWithoutWorkers({ pool }: Session): Promise<void> {
  if ((await listWorkers(pool)).length > 0) return;
  process.stderr.write("no worker is running, so nothing will happen yet; start one: npx loregraph worker\n");
}

/** How often it is looked at, in milliseconds. */
const lookMs = 500;

/** Shows progress until nothing more is to be expected by itself; ending that early leaves the reingest running. */
async function watch({ pool, signal }: Session, key: ReingestKey, json: true | undefined): Promise<void> {
  const bar = openBar("reingest");
  const interrupted = aborted(signal);
  let progress = await progressOf(pool, key);
  while (!isOver(progress) && !signal.aborted) {
    bar.update(progress.settled, progress.total, note(progress));
    await Promise.race([delay(lookMs), interrupted]);
    progress = await progressOf(pool, key);
  }
  bar.update(progress.settled, progress.total, note(progress));
  bar.end();
  if (isOver(progress)) {
    print(progress, json, progressText);
    process.exitCode = exitCodeOf(progress);
  } else {
    process.stderr.write(`it goes on; to watch it again: npx loregraph reingest status ${key.id} --watch\n`);
    process.exitCode = exitCodes.interrupted;
  }
}

function isOver({ status, paused_because }: Progress): boolean {
  return hasEnded(status) || paused_because !== null;
}

function exitCodeOf({ status, failed }: Progress): number {
  if (status === "failed") return exitCodes.failed;
  return status === "completed" && failed === 0 ? exitCodes.ok : exitCodes.inPart;
}

function note({ status, runs_per_minute, cost_usd, eta_seconds, failed, trouble }: Progress): string {
  return [
    status === "running" ? `${Math.round(runs_per_minute)} runs/min` : status,
    dollars(cost_usd),
    ...(failed > 0 ? [`${failed} failed`] : []),
    ...(eta_seconds === null ? [] : [`${span(eta_seconds)} left`]),
    ...(trouble ? [`waiting: ${trouble.code}`] : []),
  ].join(", ");
}

function statusLine({ id, status }: ReingestView): string {
  return `${id} is ${status}`;
}

function listText(reingests: readonly ReingestView[]): string {
  if (reingests.length === 0) return "no reingests";
  const rows = reingests.map((each) => [
    each.id,
    each.status,
    each.skipped + each.enqueued,
    each.total,
    ago(each.created_at),
    each.filters.pipelines.join(","),
  ]);
  return table(["id", "status", "decided", "total", "age", "pipelines"], rows);
}

function progressText(progress: Progress): string {
  const { id, status, total, settled, paused_because, error, trouble, follow_on } = progress;
  const because = paused_because ? ` because ${paused_because} was reached` : "";
  const lines = [
    `${id} is ${status}${because}: ${settled} of ${total} settled`,
    ...(error ? [`${error.code}: ${error.message}`] : []),
    ...(trouble
      ? [`waiting for ${trouble.code} to heal, since ${trouble.tries} tries: ${trouble.message}`]
      : []),
    table(
      ["done", "skipped", "failed", "cancelled", "running", "pending", "waiting"],
      [
        [
          progress.done,
          progress.skipped,
          progress.failed,
          progress.cancelled,
          progress.running,
          progress.pending,
          progress.waiting,
        ],
      ],
    ),
    ...Object.entries(follow_on).map(
      ([pipeline, { ended, open }]) => `followed by ${pipeline}: ${ended} ended, ${open} open`,
    ),
    `${progress.tokens} tokens, ${dollars(progress.cost_usd)}, ${Math.round(progress.runs_per_minute)} runs/min`,
    ...(progress.eta_seconds === null ? [] : [`about ${span(progress.eta_seconds)} left`]),
    ...(paused_because
      ? [`to go on: npx loregraph reingest resume ${id} ${optionOf[paused_because]} <more>`]
      : []),
  ];
  return lines.join("\n");
}
