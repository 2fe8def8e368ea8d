import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Entity, Pipeline } from "../../pipeline.ts";
import { brief, dollars } from "../output.ts";
import type { Told } from "./answers.ts";
import type { CallReport, NodeReport, Total } from "./node-report.ts";
import { traceText } from "./trace.ts";

/** The longest value of a field that is shown. */
const longest = 160;

export function headText({ name, version }: Pipeline, model: string, entity: Entity): string {
  const what = entity.title || brief(entity.text, 60);
  return `${name} v${version} by ${model}, on the ${entity.source_type} ${JSON.stringify(what)}\n`;
}

/** A node that ended: what it changed, what it asked, where it led and why. */
export function nodeText(node: NodeReport, nth: number, before: Readonly<Record<string, unknown>>): string {
  const { calls, branches, questions, failed } = node;
  const lines = [
    `${String(nth).padStart(2)} ${node.node}  ${[`${node.ms} ms`, ...spentText(calls)].join(", ")}${failed ? ", failed" : ""}`,
    ...Object.entries(node.wrote)
      .filter(([field, value]) => (before[field] ?? value) !== undefined)
      .map(([field, value]) => `   ${changeText(field, before[field], value)}`),
    ...questions.map((question) => `   asks ${shown(question)}`),
    ...calls.flatMap((call) => traceText(call).map((line) => `   ${line}`)),
    ...branches.map((branch) => `   → ${branchText(branch)}`),
  ];
  return `${lines.join("\n")}\n`;
}

function spentText(calls: readonly CallReport[]): readonly string[] {
  if (calls.length === 0) return [];
  const sum = (of: (call: CallReport) => number) => calls.reduce((total, call) => total + of(call), 0);
  const tokens = `${sum((call) => call.tokens_in)} tokens in, ${sum((call) => call.tokens_out)} out`;
  const notAsked = calls.filter(({ from }) => from !== "provider").length;
  const from = notAsked > 0 ? [`${notAsked} not asked anew`] : [];
  return [`${calls.length} calls`, ...from, tokens, dollars(sum(({ cost_usd }) => cost_usd))];
}

function changeText(field: string, before: unknown, written: unknown): string {
  const wrote = replacing(written);
  if (before === undefined || before === null) return `${field}: ${shown(wrote)}`;
  if (isDeepStrictEqual(before, wrote)) return `${field}: ${shown(wrote)}, as before`;
  return `${field}: ${shown(before)} → ${shown(wrote)}`;
}

/** LangGraph wraps what takes the place of all that a field gathered. */
function replacing(written: unknown): unknown {
  const wrapped = z.object({ __overwrite__: z.unknown() }).safeParse(written);
  return wrapped.success ? wrapped.data.__overwrite__ : written;
}

function branchText({ looked, to }: NodeReport["branches"][number]): string {
  const targets = to.map(({ node, times }) => (times > 1 ? `${node}, ${times} times` : node)).join(" and ");
  const why = Object.entries(looked).map(([field, value]) => `${field} is ${shown(value, 60)}`);
  return why.length > 0 ? `${targets}, since ${why.join(", ")}` : targets;
}

function shown(value: unknown, length: number = longest): string {
  if (value === undefined) return "not set";
  const written = brief(JSON.stringify(value) ?? String(value), length);
  return Array.isArray(value) && value.length > 1 ? `${value.length} items ${written}` : written;
}

type End = Told & Total;

/** How it ended, what would be told, and what it took. */
export function endText(end: End): string {
  const tokens = end.tokens_in + end.embedding_tokens;
  return [
    "",
    ...(end.ending === "waiting" ? waitingText(end.question) : answerText(end)),
    `${(end.ms / 1_000).toFixed(2)} s, ${end.model_calls + end.embedding_calls} calls, ${tokens} tokens in, ${end.tokens_out} out, ${dollars(end.cost_usd)}; nothing was written`,
  ].join("\n");
}

function waitingText(question: unknown): readonly string[] {
  return [`it asks a person: ${shown(question, 1_000)}`, "answer it by --answer '<json>'", ""];
}

function answerText({ outcome, answer, events }: Extract<Told, { ending: "answered" }>): readonly string[] {
  const kept = outcome === "eval_rejected" ? ", which would not be stored" : "";
  return [
    `${outcome}${kept}; the answer has the promised shape:`,
    ...Object.entries(answer).map(([field, value]) => `   ${field}: ${shown(value, 400)}`),
    "it would tell:",
    ...events.map(({ event, metadata }) => `   ${event} ${shown(metadata, 200)}`),
    "",
  ];
}
