import { z } from "zod";
import type { Db } from "../db.ts";
import { Backlog, listBacklogs, noBacklog } from "../ledger/backlog.ts";
import { readPipelineControls } from "../ledger/controls.ts";
import { listRates, type Rate } from "../ledger/rates.ts";
import { type Pipeline, SourceType } from "../pipeline.ts";
import { shown, Time } from "./shapes.ts";

const Trigger = z.object({
  on: z.string().describe("The event"),
  types: z.array(SourceType).nullable().describe("null for all"),
  mentioned: z.boolean().describe("Also on the entities that a text speaks of"),
  when: z.boolean().describe("Has it a condition on metadata?"),
  flag: z.string().nullable().describe("The feature flag that the tenant must have"),
});

const Counts = z.record(z.string(), z.int()).describe("By outcome; failed and cancelled beside");

/** A pipeline as the API shows it: what it is, how it is steered, what waits and what ended lately. */
export const PipelineView = z
  .object({
    name: z.string(),
    kind: z.enum(["enricher", "ingestion"]),
    version: z.int(),
    trigger: Trigger,
    emits: z.array(z.string()),
    retries: z.object({ attempts: z.int(), base: z.number(), most: z.number() }).describe("Waits in ms"),
    timeout: z.number().describe("The longest attempt, in ms"),
    priority: z.int(),
    needs_model: z.boolean().describe("Can it run only where a chat model is configured?"),
    paused_at: Time.nullable(),
    max_running: z.int().nullable(),
    backlog: Backlog.omit({ pipeline: true }).extend({
      due_since: Time.nullable(),
      waiting_since: Time.nullable(),
    }),
    ended: z.object({ minute: Counts, five_minutes: Counts, hour: Counts }).describe("The runs that ended"),
  })
  .meta({ id: "Pipeline" });
export type PipelineView = z.infer<typeof PipelineView>;

export async function viewPipelines(db: Db, pipelines: readonly Pipeline[]): Promise<PipelineView[]> {
  const [controls, backlogs, rates] = await Promise.all([
    readPipelineControls(db),
    listBacklogs(db),
    listRates(db),
  ]);
  return pipelines.map((pipeline) => {
    const { name } = pipeline;
    const { paused_at = null, max_running = null } = controls.get(name) ?? {};
    const { pipeline: _, ...backlog } = backlogs.find((of) => of.pipeline === name) ?? noBacklog(name);
    const ended = endedOf(rates.filter((of) => of.pipeline === name));
    return { ...definitionOf(pipeline), max_running, ended, ...shown({ paused_at, backlog }) };
  });
}

function definitionOf(pipeline: Pipeline) {
  const { name, kind, version, trigger, emits, retries, timeout, priority, local } = pipeline;
  const needs_model = kind === "enricher" && local === undefined;
  return {
    ...{ name, kind, version, retries, timeout, priority, needs_model },
    emits: [...emits],
    trigger: {
      on: trigger.on,
      types: trigger.types ? [...trigger.types] : null,
      mentioned: trigger.mentioned ?? false,
      when: trigger.when !== undefined,
      flag: trigger.flag ?? null,
    },
  };
}

function endedOf(rates: readonly Rate[]): PipelineView["ended"] {
  const within = (window: "minute" | "five_minutes" | "hour") =>
    Object.fromEntries(rates.map((rate) => [rate.ending, rate[window]]));
  return { minute: within("minute"), five_minutes: within("five_minutes"), hour: within("hour") };
}
