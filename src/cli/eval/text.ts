import type { Case } from "../../eval/case.ts";
import type { Evaluation } from "../../eval/evaluate.ts";
import { caseScore, type FieldScore } from "../../eval/fields.ts";
import { brief, dollars, table } from "../output.ts";

/** The most cases that are shown. */
const worst = 5;

/** An evaluation for people: each field's score, then the worst cases. */
export function evaluationText(evaluation: Evaluation): string {
  const { pipeline, pipeline_version, model, data, cases, failed, rejected, ms } = evaluation;
  const left = [
    ...(failed > 0 ? [`${failed} ended without an answer and count as wrong`] : []),
    ...(rejected > 0 ? [`${rejected} lines rejected`] : []),
  ];
  return [
    `${pipeline} v${pipeline_version} by ${model}: ${cases.length} examples of ${data}`,
    ...left,
    "",
    scoresText(evaluation.fields),
    "",
    ...worstText(cases),
    `${(ms / 1_000).toFixed(1)} s, ${evaluation.tokens_in} tokens in, ${evaluation.tokens_out} out, ${dollars(evaluation.cost_usd)}`,
  ].join("\n");
}

function scoresText(fields: readonly FieldScore[]): string {
  const head = ["field", "measure", "examples", "score", "95 % interval", ""];
  return table(
    head,
    fields.map((one) => [
      one.field,
      one.measure,
      one.examples,
      one.mean.toFixed(3),
      `${one.low.toFixed(3)} to ${one.high.toFixed(3)}`,
      more(one),
    ]),
  );
}

function more({ off, precision, recall }: FieldScore): string {
  if (off !== undefined) return `off by ${off.toFixed(3)} on average`;
  if (precision === undefined || recall === undefined) return "";
  return `precision ${precision.toFixed(3)}, recall ${recall.toFixed(3)}`;
}

function worstText(cases: readonly Case[]): readonly string[] {
  const wrong = cases.filter((one) => caseScore(one) < 1).toSorted((a, b) => caseScore(a) - caseScore(b));
  if (wrong.length === 0) return [];
  const shown = wrong.slice(0, worst);
  const head =
    wrong.length > shown.length ? `the worst of ${wrong.length} that are not right:` : "not right:";
  return [head, ...shown.flatMap(caseText), ""];
}

function caseText(one: Case): readonly string[] {
  const head = `  ${one.name}: ${caseScore(one).toFixed(2)}`;
  if (one.error) return [head, `    ${one.error.code}: ${brief(one.error.message, 140)}`];
  const wrong = Object.entries(one.scores).filter(([, { score }]) => score < 1);
  return [
    head,
    ...wrong.map(([field, { score, why }]) => {
      const values = `expected ${written(one.expected[field])}, got ${written(one.answer?.[field])}`;
      return `    ${field} ${score.toFixed(2)}: ${values}${why ? ` (${brief(why, 120)})` : ""}`;
    }),
  ];
}

function written(value: unknown): string {
  return brief(JSON.stringify(value ?? null), 120);
}
