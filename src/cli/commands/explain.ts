import { LoregraphError } from "../../errors.ts";
import type { Call } from "../../ledger/calls.ts";
import { findRun, tenantOfRun } from "../../ledger/look.ts";
import { openModels } from "../../models/models.ts";
import type { Pipeline } from "../../pipeline.ts";
import {
  type ExplainContext,
  type Explanation,
  explainOutput,
  explainRun,
  type Link,
} from "../explain/chain.ts";
import { ago, brief, dollars, print } from "../output.ts";
import { newCommand, tenantOption, unknownPipeline, uuid } from "../program.ts";
import { registryInUse } from "../registry-in-use.ts";
import { withSession } from "../session.ts";
import { oneEntity } from "../the-entity.ts";

export const command = () =>
  newCommand(
    "explain",
    "tell how an enrichment came to be: output, model calls, nodes, run, event, base run, entity",
    "loregraph explain 0b7e6e55-6f0c-4d0a-8a52-0a3a5f0b7c11 dialog-mood",
  )
    .argument("<id>", "an entity's id, or a run's", uuid("the id"))
    .argument("[pipeline]", "which pipeline's output; all where it is left out")
    .addOption(tenantOption())
    .action(async (id, pipeline, { tenant, json }) => {
      await withSession(async ({ pool, config }) => {
        const registry = await registryInUse({ config, pool });
        const context = { pool, registry, models: openModels(config.models) };
        const found = await explain(context, { id, pipeline, tenant });
        print(found, json, (all) => all.map(asText).join("\n\n"));
      });
    });

type Asked = {
  readonly id: string;
  readonly pipeline: string | undefined;
  readonly tenant: string | undefined;
};

async function explain(context: ExplainContext, asked: Asked): Promise<readonly Explanation[]> {
  const { pool } = context;
  const entity = await oneEntity(pool, asked.id, asked.tenant);
  if (entity === undefined) return [await explainOneRun(context, asked)];
  const explained = await Promise.all(
    chosen(context, asked.pipeline).map((each) => explainOutput(context, entity, each)),
  );
  const found = explained.flatMap((explanation) => explanation ?? []);
  if (found.length > 0) return found;
  const what = asked.pipeline ?? "no pipeline";
  throw new LoregraphError(
    "NOT_FOUND",
    `${what} has stored ${asked.pipeline ? "nothing" : "anything"} about it yet`,
  );
}

function chosen({ registry }: ExplainContext, name: string | undefined): readonly Pipeline[] {
  if (name === undefined) return [...registry.values()];
  const pipeline = registry.get(name);
  if (pipeline === undefined) throw unknownPipeline(name, registry.keys());
  return [pipeline];
}

async function explainOneRun(context: ExplainContext, { id, tenant }: Asked): Promise<Explanation> {
  const tenant_id = tenant ?? (await tenantOfRun(context.pool, id));
  const run = tenant_id && (await findRun(context.pool, tenant_id, id));
  if (!run) throw new LoregraphError("NOT_FOUND", `there is neither an entity nor a run ${id}`);
  return await explainRun(context, run);
}

function asText({ pipeline, entity, output, stale, chain }: Explanation): string {
  const about = entity
    ? `${entity.source_type} ${entity.source_id}, “${brief(entity.title, 40)}”`
    : "an entity that is gone";
  return [
    `${pipeline} of ${about}`,
    ...(output ? outputText(output, stale) : ["  output    this run stored none that is there still"]),
    ...chain.flatMap(linkText),
    ...(entity ? [`entity      version ${entity.version}`] : []),
  ].join("\n");
}

function outputText(output: NonNullable<Explanation["output"]>, stale: readonly string[]): readonly string[] {
  const { outcome, source_version, stored_at } = output;
  return [
    `output      ${outcome}, of version ${source_version}, ${ago(stored_at)} old`,
    `  is        ${brief(JSON.stringify(output.output), 300)}`,
    `  stale     ${stale.length === 0 ? "no: it would be made the same way now" : stale.join("; ")}`,
  ];
}

function linkText({ run, nodes, calls }: Link, nth: number): readonly string[] {
  const lines: readonly (readonly [string, string | null])[] = [
    ["by", run.model && `${run.model}, pipeline version ${run.pipeline_version}, attempt ${run.attempt}`],
    ["calls", callsText(run)],
    ...calls.slice(0, mostCalls).map((call) => ["", callText(call)] as const),
    ["", calls.length > mostCalls ? `… ${calls.length - mostCalls} more; --json has all` : null],
    ["nodes", nodesText(nodes)],
    ...run.questions.map(
      ({ question, answer, answered_by }) =>
        [
          "asked",
          `${brief(JSON.stringify(question), 100)} ${answered_by ? `${answered_by}: ${brief(JSON.stringify(answer), 100)}` : "open"}`,
        ] as const,
    ),
    [
      "because",
      run.cause && `event ${run.cause.id} ${run.cause.event}, ${run.cause.occurred_at.toISOString()}`,
    ],
    ["reingest", run.reingest_id],
  ];
  const head = `${(nth === 0 ? "run" : "before").padEnd(10)}  ${run.pipeline} ${run.outcome ?? run.status}, ${run.id}, about ${run.source_type} ${run.source_id}`;
  return [head, ...lines.flatMap(([name, value]) => (value ? [`  ${name.padEnd(8)}  ${value}`] : []))];
}

/** The most model calls of one run. */
const mostCalls = 20;

function callText({ node, kind, model, source, tokens_in, tokens_out, cost_usd, ms }: Call): string {
  const from = source === "provider" ? "" : `, from ${source}`;
  return `${node ?? "the graph"} asked ${model} (${kind}${from}): ${tokens_in} tokens in, ${tokens_out} out, ${dollars(cost_usd)}, ${Math.round(ms)} ms`;
}

function callsText(run: Link["run"]): string {
  const { model_calls, embedding_calls, tokens_in, tokens_out, embedding_tokens, cost_usd } = run;
  if (model_calls + embedding_calls === 0) return "none of a model server";
  return `${model_calls} of models, ${embedding_calls} for embeddings; ${tokens_in + embedding_tokens} tokens in, ${tokens_out} out; ${dollars(cost_usd)}`;
}

function nodesText({ steps, note }: Link["nodes"]): string {
  const path = steps.map(({ nodes }) => nodes.join(" + ")).join(" → ");
  return [path, note].filter(Boolean).join("; ");
}
