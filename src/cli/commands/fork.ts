import { Command } from "@commander-js/extra-typings";
import { deleteCheckpoints } from "../../../checkpoints/delete.ts";
import { LoregraphError } from "../../errors.ts";
import { dropFork, type Fork, findFork, listForks } from "../../forks/fork.ts";
import { promoteFork } from "../../forks/promote.ts";
import { ago, dollars, print, table } from "../output.ts";
import { exampleText, newCommand, tenantOption, uuid, wholeNumber } from "../program.ts";
import { openRuntime } from "../runtime.ts";
import { type Session, withSession } from "../session.ts";
import { userName } from "../user.ts";

const id = "01a1f3c2-7b7e-7c11-9d0a-5f4e2b6a8c31";

export const command = () =>
  new Command("fork")
    .description("list, show, promote or drop forks that were made in Studio")
    .addHelpText("after", exampleText(`loregraph fork promote ${id}`))
    .addCommand(list())
    .addCommand(show())
    .addCommand(promote())
    .addCommand(drop());

const list = () =>
  newCommand("list", "list forks, newest first", "loregraph fork list --limit 20")
    .addOption(tenantOption())
    .option("--run <uuid>", "only those of this run", uuid("--run"))
    .option("--limit <n>", "the most forks", wholeNumber("--limit", 1), 50)
    .action(async ({ tenant, run, limit, json }) => {
      await withSession(async ({ pool }) => {
        print(await listForks(pool, { tenant_id: tenant, run_id: run, limit }), json, asText);
      });
    });

const one = (name: string, summary: string) =>
  newCommand(name, summary, `loregraph fork ${name} ${id}`)
    .argument("<fork>", "its id", uuid("the fork's id"))
    .addOption(tenantOption());

const show = () =>
  one("show", "show a fork: of what it is, who made it, what it used").action(
    async (fork_id, { tenant, json }) => {
      await withSession(async (session) => print(await theFork(session, fork_id, tenant), json, wholeText));
    },
  );

const promote = () =>
  one("promote", "make a fork's answer the stored one, by a run of its own")
    .option("--anyway", "also where its entity has changed since")
    .action(async (fork_id, { tenant, anyway = false, json }) => {
      await withSession(async (session) => {
        const fork = await theFork(session, fork_id, tenant);
        const promoted = await promoteFork(await openRuntime(session), fork, { by: userName(), anyway });
        print(promoted, json, ({ run_id }) => `promoted: run ${run_id} stored its answer`);
      });
    });

const drop = () =>
  one("drop", "drop a fork with its checkpoints").action(async (fork_id, { tenant, json }) => {
    await withSession(async (session) => {
      const fork = await theFork(session, fork_id, tenant);
      if (!(await dropFork(session.pool, fork)))
        throw new LoregraphError(
          "STATE_TRANSITION",
          `the fork ${fork_id} is ${fork.status}: only an open one is dropped`,
        );
      await deleteCheckpoints(session.pool, fork.id);
      print({ id: fork.id, status: "dropped" }, json, () => "dropped");
    });
  });

async function theFork({ pool }: Session, fork_id: string, tenant: string | undefined): Promise<Fork> {
  const fork = await findFork(pool, fork_id, tenant);
  if (fork) return fork;
  throw new LoregraphError("NOT_FOUND", `there is no fork ${fork_id}${tenant ? ` of tenant ${tenant}` : ""}`);
}

function asText(forks: readonly Fork[]): string {
  if (forks.length === 0) return "no forks: `loregraph studio --allow-fork` lets them be made";
  return table(
    ["fork", "pipeline", "status", "age", "by", "cost", "run"],
    forks.map((fork) => [
      fork.id,
      fork.pipeline,
      fork.status,
      ago(fork.created_at),
      fork.made_by,
      dollars(fork.usage.cost_usd),
      fork.run_id,
    ]),
  );
}

function wholeText(fork: Fork): string {
  const { tokens_in, tokens_out, cost_usd } = fork.usage;
  const lines = [
    ["fork", fork.id],
    ["status", fork.status],
    ["of", `run ${fork.run_id}, checkpoint ${fork.checkpoint_id}`],
    ["about", `${fork.source_type} ${fork.source_id}, version ${fork.source_version}`],
    ["made by", `${fork.made_by}, ${ago(fork.created_at)} ago`],
    ["made with", `${fork.pipeline} version ${fork.stamp.pipeline_version}, ${fork.stamp.model}`],
    ["used", `${tokens_in} tokens in, ${tokens_out} out, ${dollars(cost_usd)}`],
    ["checkpoints go", fork.expires_at?.toISOString() ?? "they are gone"],
    ...(fork.promoted_run_id ? [["became", `run ${fork.promoted_run_id}`]] : []),
  ];
  return lines.map(([name = "", value = ""]) => `${name.padEnd(14)}  ${value}`).join("\n");
}
