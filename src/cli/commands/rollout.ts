import { LoregraphError } from "../../errors.ts";
import { dropRollout, type EndedRollout, promoteRollout } from "../../rollouts/end.ts";
import { type RolloutProgress, rolloutProgress } from "../../rollouts/progress.ts";
import { startRollout } from "../../rollouts/start.ts";
import { dollars, print, table } from "../output.ts";
import { newCommand, tenantOption, wholeNumber } from "../program.ts";
import { registryInUse } from "../registry-in-use.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "rollout",
    "try another version of a pipeline on a share of the entities, then promote or drop it",
    "loregraph rollout dialog-mood --to 2 --share 5%",
  )
    // Else its own --tenant and --json would be taken from what stands after a subcommand.
    .enablePositionalOptions()
    .argument("[pipeline]", "its name in langgraph.json")
    .option("--to <version>", "the version to try, an entry name@version", wholeNumber("--to", 2))
    .option("--share <part>", "of the entities, such as 5% or 0.05", share)
    .addOption(tenantOption())
    .action(async (pipeline, { to, share, tenant, json }) => {
      if (pipeline === undefined || to === undefined || share === undefined)
        throw new LoregraphError("INPUT_INVALID", "expected a pipeline, --to and --share");
      await withSession(async (session) => {
        const registry = await registryInUse(session);
        const { pool } = session;
        const started = await startRollout({ pool, registry }, { pipeline, to, share, tenant_id: tenant });
        print(started, json, ({ rollout, enqueued }) =>
          [
            `${pipeline} ${rollout.from_version} and ${to} on ${percent(rollout.share)}: ${enqueued} runs were enqueued`,
            `to watch it: npx loregraph rollout status ${pipeline}`,
          ].join("\n"),
        );
      });
    })
    .addCommand(status())
    .addCommand(ending("promote", "let the tried version run, and what it made be what is stored"))
    .addCommand(ending("drop", "forget the tried version and what it made"));

const status = () =>
  newCommand(
    "status",
    "show how far rollouts are, what they cost and how far versions agree",
    "loregraph rollout status",
  )
    .argument("[pipeline]", "only of this one")
    .action(async (pipeline, { json }) => {
      await withSession(async ({ pool }) => print(await rolloutProgress(pool, pipeline), json, statusText));
    });

const ending = (verb: "promote" | "drop", summary: string) =>
  newCommand(verb, summary, `loregraph rollout ${verb} dialog-mood`)
    .argument("<pipeline>", "its name in langgraph.json")
    .action(async (pipeline, { json }) => {
      await withSession(async (session) => {
        const { pool } = session;
        const registry = await registryInUse(session);
        const ended =
          verb === "promote"
            ? await promoteRollout({ pool, registry }, pipeline)
            : await dropRollout({ pool }, pipeline);
        print(ended, json, endedText);
      });
    });

/** Reads `5%` and `0.05` as the same. */
function share(value: string): number {
  const [, number = "", sign] = /^([\d.]+)(%?)$/.exec(value.trim()) ?? [];
  const part = sign ? Number(number) / 100 : Number(number);
  if (number !== "" && part > 0 && part <= 1) return part;
  throw new LoregraphError("INPUT_INVALID", `expected --share to be above 0% and up to 100%, got: ${value}`);
}

function percent(part: number): string {
  return `${Number((part * 100).toFixed(2))}%`;
}

function statusText(rollouts: readonly RolloutProgress[]): string {
  if (rollouts.length === 0) return "no rollouts";
  const rows = rollouts.map(({ runs, ...rollout }) => [
    rollout.pipeline,
    `${rollout.from_version} to ${rollout.to_version}`,
    percent(rollout.share),
    rollout.status,
    runs.done + runs.unchanged,
    runs.open,
    runs.failed,
    rollout.candidates,
    dollars(runs.cost_usd),
    rollout.agreement === null ? "" : percent(rollout.agreement),
  ]);
  const head = ["pipeline", "versions", "share", "status", "done", "open", "failed", "kept", "cost", "agree"];
  return table(head, rows);
}

function endedText({ rollout, promoted, forgotten }: EndedRollout): string {
  const { pipeline, from_version, to_version, status } = rollout;
  if (status === "dropped")
    return `${pipeline} ${to_version} was dropped: ${forgotten} outputs were forgotten`;
  return [
    `${pipeline} ${to_version} runs now: ${promoted} of its outputs are stored, ${forgotten} were older than what is`,
    `to make the rest anew: npx loregraph reingest --tenant <uuid> --pipelines ${pipeline} --stale-version ${from_version}`,
  ].join("\n");
}
