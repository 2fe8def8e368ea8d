import {
  countOpenRuns,
  type DeadLetters,
  deadLetterCauses,
  type Tally,
  tallyRuns,
} from "../../ledger/read.ts";
import { type LiveWorker, listWorkers } from "../../ledger/workers.ts";
import { countEntities, type TypeCount } from "../../store/entities.ts";
import { ago, brief, dollars, print, table } from "../output.ts";
import { newCommand, tenantOption } from "../program.ts";
import { withSession } from "../session.ts";

type Status = {
  readonly tenant_id: string | null;
  readonly entities: readonly TypeCount[];
  readonly runs: readonly Tally[];
  readonly pending: number;
  readonly running: number;
  readonly dead_letters: readonly DeadLetters[];
  readonly workers: readonly LiveWorker[];
};

export const command = () =>
  newCommand(
    "status",
    "show what there is, what waits, what failed and what it cost",
    "loregraph status --tenant <uuid>",
  )
    .addOption(tenantOption())
    .action(async ({ tenant, json }) => {
      await withSession(async ({ pool }) => {
        const [entities, runs, open, dead_letters, workers] = await Promise.all([
          countEntities(pool, tenant),
          tallyRuns(pool, tenant),
          countOpenRuns(pool, { tenant_id: tenant }),
          deadLetterCauses(pool, tenant),
          listWorkers(pool),
        ]);
        const status: Status = { tenant_id: tenant ?? null, entities, runs, ...open, dead_letters, workers };
        print(status, json, asText);
      });
    });

function asText({ entities, runs, pending, running, dead_letters, workers }: Status): string {
  if (entities.length === 0) return "nothing has been imported yet; try `npx loregraph demo`";
  return [
    table(
      ["entities", "count", "characters"],
      entities.map((e) => [e.source_type, e.entities, e.characters]),
    ),
    table(["pipeline", "runs", "model calls", "embeddings", "reused", "cost"], runs.map(runRow)),
    `${pending} pending, ${running} running, ${workers.length} workers${workers.map(workerText).join("")}`,
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

function deadText(letters: readonly DeadLetters[]): string {
  const rows = letters.map(
    (d) => `  ${d.runs} of ${d.pipeline}: ${d.error_code}\n    ${brief(d.error_message, 140)}`,
  );
  return ["dead letters (`loregraph dead-letters redrive` tries them again)", ...rows].join("\n");
}
