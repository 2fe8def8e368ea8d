import type { CaseDifference, Comparison } from "../../eval/compare.ts";
import { brief, table } from "../output.ts";

/** The most examples that are named on either side. */
const most = 10;

/** A comparison for people: what changed, each field, then the examples that got better and worse. */
export function comparisonText({ changed, fields, better, worse, unpaired }: Comparison): string {
  const head = ["field", "examples", "before", "after", "difference", "95 % interval", ""];
  return [
    changed.length === 0 ? "nothing that made them differs" : "what changed:",
    ...changed.map(({ what, before, after }) => `  ${what}: ${brief(before, 60)} → ${brief(after, 60)}`),
    "",
    table(
      head,
      fields.map((one) => [
        one.field,
        one.pairs,
        one.before.toFixed(3),
        one.after.toFixed(3),
        signed(one.difference),
        `${signed(one.low)} to ${signed(one.high)}`,
        one.clear ? "" : "may be chance",
      ]),
    ),
    "",
    ...casesText("better", better),
    ...casesText("worse", worse),
    ...(unpaired > 0 ? [`${unpaired} examples are in one only, or expect something else in the other`] : []),
  ].join("\n");
}

function casesText(how: string, cases: readonly CaseDifference[]): readonly string[] {
  if (cases.length === 0) return [`none got ${how}`];
  const shown = cases.slice(0, most);
  const more = cases.length - shown.length;
  return [
    `${cases.length} got ${how}:`,
    ...shown.map(({ name, before, after }) => `  ${name}: ${before.toFixed(2)} → ${after.toFixed(2)}`),
    ...(more > 0 ? [`  … and ${more} more; --json has all`] : []),
  ];
}

function signed(value: number): string {
  return `${value < 0 ? "" : "+"}${value.toFixed(3)}`;
}
