/**
 * A sign that may open or close speech, and what its surroundings tell about it.
 *
 * Each cost says how surprising a reading is: 0 is what one expects there, 4 is what only a misprint explains.
 */
export type Mark = {
  readonly at: number;
  readonly end: number;
  readonly sign: string;
  readonly opening: number;
  readonly closing: number;
  /** What it costs to read it as no quotation mark at all: an apostrophe, an inch, a misprint. */
  readonly neither: number;
};

type Costs = Pick<Mark, "opening" | "closing" | "neither">;

/** What stands around a sign. `before` and `after` look past spaces, and are empty at the edges of a line. */
type Place = {
  readonly shape: "opening" | "closing" | "alone" | "inside";
  readonly before: string;
  readonly after: string;
  readonly wordBefore: string;
  readonly wordAfter: string;
};

const signs = /''|``|["“”„«»「」『』'‘’`]/g;
const letter = /[\p{L}\p{N}]/u;
const punctuation = /[.!?…,;:。！？，；：\-–—―_*]/;

/** What a sign may stand tight against when it opens, and when it closes. */
const opensAfter = /[([{—–―\-_*/"“‘«„'`]/;
const closesBefore = /[\p{P}]/u;

/** Letters that an apostrophe stands before: ’tis, ’em, ’90s. */
const clipped =
  /^(?:tis|twas|twere|twill|twould|twixt|em|til|till|cause|cos|coz|bout|round|neath|gainst|fore|cept|er|im|un|[odn]|ee|stead|bove|way|uz|\d\ds?)$/i;

/** What follows the apostrophe of a contraction whose word stands apart: do n’t, it ’s, l’ eau. */
const contracted = /^(?:s|d|m|ll|re|ve|t)$/i;

/** Letters that an apostrophe stands after: goin’, th’, James’. */
const elided = /(?:s|in|an|th|ol|wi)$|^[odl]$/i;

/** Words that nothing quoted ends with. */
const dangling = /^(?:an?|the|of|to|in|his|her|their|its|is|was|were|and|or|said|by|for|as|with)$/i;

/** Every sign of `text` that may be a quotation mark, in order. */
export function findMarks(text: string): Mark[] {
  const marks: Mark[] = [];
  for (const { 0: sign, index: at } of text.matchAll(signs)) {
    const end = at + sign.length;
    const costs = readSign(sign, place(text, at, end));
    if (costs) marks.push({ at, end, sign, ...costs });
  }
  return marks;
}

function readSign(sign: string, around: Place): Costs | undefined {
  if (/^['‘’`]$/.test(sign)) return readSingle(sign, around);
  if (sign === '"') return { ...readShape(around), neither: /\d$/.test(around.wordBefore) ? 1 : 4 };
  if (sign === "”" || sign === "»") return readEnd(around);
  return { opening: 0, closing: around.shape === "opening" ? 3 : 0, neither: 4 };
}

/** At the head of a line it repeats that speech goes on, as old French prints do. */
function readEnd({ shape, before, after }: Place): Costs {
  const repeats = before === "" && after !== "" && !closesBefore.test(after.replace(/[—–-]/, ""));
  return { opening: shape === "opening" ? 0.5 : 4, closing: repeats ? 2 : 0, neither: repeats ? 0.5 : 4 };
}

function readSingle(sign: string, around: Place): Costs | undefined {
  if (isContraction(around)) return undefined;
  const { opening, closing } = readShape(around);
  if (sign === "‘") return { opening: 0, closing: 4, neither: clipped.test(around.wordAfter) ? 0.5 : 3 };
  if (sign === "’") return { opening: opening + 2, closing, neither: asApostrophe(around) };
  return { opening, closing, neither: asApostrophe(around) };
}

function isContraction({ shape, wordAfter }: Place): boolean {
  return (shape === "inside" || shape === "opening") && contracted.test(wordAfter);
}

function asApostrophe({ shape, before, wordBefore, wordAfter }: Place): number {
  if (shape === "inside") return letter.test(before) ? 0 : 2;
  if (shape === "opening") return clipped.test(wordAfter) ? 0.3 : 2.5;
  if (wordBefore === "") return 4;
  return elided.test(wordBefore) ? 0.4 : 2;
}

function readShape({ shape, before, after, wordBefore }: Place): { opening: number; closing: number } {
  const runsOn = punctuation.test(after) || after === "" ? 0 : 0.6;
  if (shape === "opening") return { opening: 0, closing: 6 };
  if (shape === "closing") return { opening: 6, closing: wordBefore === "" ? 0 : runsOn };
  if (shape === "inside")
    return letter.test(before) ? { opening: 4, closing: 4 } : { opening: 1, closing: 1 };
  return {
    opening: openingAlone(before, after),
    closing: closingAlone(before, after, dangling.test(wordBefore)) + runsOn / 2,
  };
}

function openingAlone(before: string, after: string): number {
  const expected = before === "" || punctuation.test(before) ? 0 : 1;
  if (after === "") return expected + 2;
  return letter.test(after) || /['‘’_*(—–-]/.test(after) ? expected : expected + 2;
}

function closingAlone(before: string, after: string, dangles: boolean): number {
  if (dangles) return 2.5;
  if (before === "") return /\p{Lu}/u.test(after) ? 4 : 2;
  return punctuation.test(before) ? 0 : 1;
}

function place(text: string, at: number, end: number): Place {
  const before = lastBefore(text, at);
  const after = firstAfter(text, end);
  return {
    shape: shapeBetween(text[at - 1] ?? " ", text[end] ?? " "),
    before,
    after,
    wordBefore: /[\p{L}\p{N}]*$/u.exec(text.slice(Math.max(0, at - 16), at).trimEnd())?.[0] ?? "",
    wordAfter: /^[\p{L}\p{N}]*/u.exec(text.slice(end, end + 16))?.[0] ?? "",
  };
}

function shapeBetween(left: string, right: string): Place["shape"] {
  const [spaceLeft, spaceRight] = [/\s/.test(left), /\s/.test(right)];
  if (spaceLeft !== spaceRight) return spaceLeft ? "opening" : "closing";
  const opens = spaceLeft || opensAfter.test(left);
  const closes = spaceRight || closesBefore.test(right);
  if (opens) return closes ? "alone" : "opening";
  return closes ? "closing" : "inside";
}

function lastBefore(text: string, at: number): string {
  let i = at - 1;
  while (/[^\S\n\r]/.test(text[i] ?? "")) i--;
  const char = text[i] ?? "";
  return char === "\n" ? "" : char;
}

function firstAfter(text: string, end: number): string {
  let i = end;
  while (/[^\S\n\r]/.test(text[i] ?? "")) i++;
  const char = text[i] ?? "";
  return char === "\n" || char === "\r" ? "" : char;
}
