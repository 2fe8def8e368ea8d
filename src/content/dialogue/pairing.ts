import type { Layout } from "./layout.ts";
import type { Mark } from "./marks.ts";

/**
 * A stretch between quotation marks, marks included. What runs over several paragraphs is one quotation for each,
 * and all but the first `continue` the one before.
 */
export type Quotation = { readonly start: number; readonly end: number; readonly continues: boolean };

/** The ways to quote: which signs open, which close. A text may mix them. */
const styles: readonly { readonly opens: readonly string[]; readonly closes: readonly string[] }[] = [
  { opens: ['"', "``"], closes: ['"', "''", "”"] },
  { opens: ["“", "``"], closes: ["”", '"', "''"] },
  { opens: ["„"], closes: ["“", "”", '"'] },
  { opens: ["”"], closes: ["”"] },
  { opens: ["«"], closes: ["»"] },
  { opens: ["»"], closes: ["«"] },
  { opens: ["「"], closes: ["」"] },
  { opens: ["『"], closes: ["』"] },
  { opens: ["'", "`"], closes: ["'", "’"] },
  { opens: ["‘", "’"], closes: ["’", "'"] },
];

/** A state is `outside`, inside the style before it in the list, or inside that style twice: “the “Times” says”. */
const outside = 0;
const states = 2 * styles.length + 1;
const styleOf = (state: number) => styles[(state - 1) % styles.length];
const isTwice = (state: number) => state > styles.length;

/** Costs on the scale of `Mark`, fixed by hand on half of a corpus and checked on the other half. */
const unclosed = 3;
const reopened = 3;
const twice = 2;
const strangerInside = 1.5;
const rarest = 1.5;
const runsOn = { paragraph: 3.5, sentence: 0.03 };

/** What the reading meets, in order: a mark, or the start of a paragraph (of a sentence, if tokenised). */
type Step =
  | { readonly kind: "mark"; readonly mark: Mark; readonly fresh: boolean }
  | { readonly kind: "block"; readonly at: number; readonly sign: string };

type Reach = (from: number, to: number, cost: number) => void;

/**
 * Reads every mark as opening, closing or neither so that the whole text surprises least: Viterbi's algorithm
 * over the states above, so in linear time. A forgotten or misprinted mark costs its paragraph, not the rest.
 */
export function pairMarks(
  text: string,
  marks: readonly Mark[],
  blocks: readonly number[],
  layout: Layout,
): Quotation[] {
  const steps = interleave(text, marks, blocks);
  return collect(text, steps, likeliestStates(steps, rarity(marks), layout), layout);
}

function interleave(text: string, marks: readonly Mark[], blocks: readonly number[]): Step[] {
  const steps: Step[] = [];
  let block = 0;
  const passBlocks = (upTo: number) => {
    for (let at = blocks[block]; at !== undefined && at <= upTo; at = blocks[++block])
      steps.push({ kind: "block", at, sign: text[at] ?? "" });
  };
  for (const mark of marks) {
    passBlocks(mark.at);
    steps.push({ kind: "mark", mark, fresh: mark.at === blocks[block - 1] });
  }
  passBlocks(text.length);
  return steps;
}

/** What it costs to open each style: nothing for the one a text lives by, more for one it hardly uses. */
function rarity(marks: readonly Mark[]): number[] {
  const plain = marks.filter(({ opening, neither }) => opening < 0.5 && neither > 1);
  const counts = styles.map(({ opens }) => plain.filter(({ sign }) => opens.includes(sign)).length);
  return counts.map((count) => Math.min(rarest, 0.5 * Math.log((plain.length + 1) / (count + 0.5))));
}

/** The state after each step on the cheapest path. */
function likeliestStates(steps: readonly Step[], rare: readonly number[], layout: Layout): Uint8Array {
  const origins = new Uint8Array(steps.length * states);
  let costs = new Float64Array(states).fill(Number.POSITIVE_INFINITY);
  let next = new Float64Array(states);
  costs[outside] = 0;
  let row = 0;
  const reach: Reach = (from, to, cost) => {
    const sum = (costs[from] ?? 0) + cost;
    if (sum >= (next[to] ?? 0)) return;
    next[to] = sum;
    origins[row + to] = from;
  };
  for (const step of steps) {
    next.fill(Number.POSITIVE_INFINITY);
    for (let state = 0; state < states; state++)
      if (costs[state] !== Number.POSITIVE_INFINITY) move(step, state, rare, layout, reach);
    [costs, next] = [next, costs];
    row += states;
  }
  return traceBack(origins, steps.length, cheapestEnd(costs));
}

function move(step: Step, state: number, rare: readonly number[], layout: Layout, reach: Reach): void {
  if (step.kind === "block") moveOverBlock(step.sign, state, layout, reach);
  else if (state === outside) enter(step.mark, rare, reach);
  else moveInside(step, state, layout, reach);
}

function moveInside(step: Step & { kind: "mark" }, state: number, layout: Layout, reach: Reach): void {
  const { mark, fresh } = step;
  const closes = styleOf(state)?.closes.includes(mark.sign);
  const opens = styleOf(state)?.opens.includes(mark.sign);
  if (closes) reach(state, isTwice(state) ? state - styles.length : outside, mark.closing);
  if (opens) reach(state, state, mark.opening + (fresh ? freshly(layout) : reopened));
  if (opens && !closes && !isTwice(state)) reach(state, state + styles.length, mark.opening + twice);
  reach(state, state, closes || opens ? mark.neither : Math.min(mark.neither, strangerInside));
}

/** Where paragraphs are lost, a mark that begins a line opens a paragraph only perhaps. */
function freshly(layout: Layout): number {
  return layout === "tokenised" ? reopened / 2 : 0;
}

function enter(mark: Mark, rare: readonly number[], reach: Reach): void {
  reach(outside, outside, mark.neither);
  styles.forEach(({ opens }, i) => {
    if (opens.includes(mark.sign)) reach(outside, i + 1, mark.opening + (rare[i] ?? 0));
  });
}

function moveOverBlock(sign: string, state: number, layout: Layout, reach: Reach): void {
  reach(state, outside, state === outside ? 0 : unclosed);
  if (state !== outside) reach(state, state, costOfRunningOn(sign, state, layout));
}

function costOfRunningOn(sign: string, state: number, layout: Layout): number {
  if (layout === "tokenised") return runsOn.sentence;
  return continues(sign, state) ? 0 : runsOn.paragraph;
}

/** A paragraph goes on with the speech before it if it repeats its sign, or opens with a dash inside guillemets. */
function continues(sign: string, state: number): boolean {
  const opens = styleOf(state)?.opens ?? [];
  return opens.includes(sign) || (opens.includes("«") && /[»—–―-]/.test(sign));
}

function cheapestEnd(costs: Float64Array): number {
  const total = (state: number) => (costs[state] ?? 0) + (state === outside ? 0 : unclosed);
  return Array.from(costs.keys()).reduce((best, state) => (total(state) < total(best) ? state : best));
}

function traceBack(origins: Uint8Array, length: number, last: number): Uint8Array {
  const reading = new Uint8Array(length);
  let state = last;
  for (let i = length - 1; i >= 0; i--) {
    reading[i] = state;
    state = origins[i * states + state] ?? outside;
  }
  return reading;
}

function collect(text: string, steps: readonly Step[], reading: Uint8Array, layout: Layout): Quotation[] {
  const quotations: Quotation[] = [];
  let start: number | undefined;
  let continues = false;
  const close = (end: number) => {
    if (start !== undefined) quotations.push({ start, end, continues });
    start = undefined;
    continues = false;
  };
  steps.forEach((step, i) => {
    const inside = (reading[i] ?? outside) !== outside;
    if (step.kind === "mark") {
      if (inside) start ??= step.mark.at;
      else close(step.mark.end);
    } else if (!inside || layout !== "tokenised" || reopens(steps[i + 1], reading[i])) {
      close(endOfWords(text, step.at));
      if (inside) start = step.at;
      continues = inside;
    }
  });
  close(endOfWords(text, text.length));
  return quotations;
}

function reopens(step: Step | undefined, state = outside): boolean {
  return step?.kind === "mark" && step.fresh && styleOf(state)?.opens.includes(step.mark.sign) === true;
}

/** The end of the last word before `at`. */
function endOfWords(text: string, at: number): number {
  let end = at;
  while (end > 0 && /\s/.test(text[end - 1] ?? "")) end--;
  return end;
}
