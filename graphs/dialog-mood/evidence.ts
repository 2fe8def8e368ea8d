import type { Turn } from "./exchanges.ts";
import type { Answer, Reading, Span } from "./schema.ts";

/** Words that were said, and where in the entity's text. */
type Said = Pick<Turn, "said" | "start">;

/**
 * Trusts an answer only if its evidence was really said. Decided: an invented quote leaves the mood to look at, but
 * takes its confidence away (0) and is itself dropped, so that nobody is shown words that are not in the text.
 */
export function checked(answer: Answer, turns: readonly Said[]): Reading {
  const at = findQuote(answer.evidence, turns);
  if (!at) return { ...answer, confidence: 0, evidence: "", evidence_at: null };
  return { ...answer, evidence: at.said, evidence_at: { start: at.start, end: at.end } };
}

/**
 * Where one of the turns says `quote`. The words must be the same; how white space, quotation marks, dashes and
 * ellipses are typed, and the marks around the quote, may differ.
 */
function findQuote(quote: string, turns: readonly Said[]): (Span & { said: string }) | undefined {
  const wanted = fold(quote).text.replace(outerMarks, "");
  if (!/[\p{L}\p{N}]/u.test(wanted)) return undefined;
  for (const { said, start } of turns) {
    const folded = fold(said);
    const at = folded.text.indexOf(wanted);
    if (at < 0) continue;
    const from = folded.origin[at] ?? 0;
    const to = folded.origin[at + wanted.length] ?? said.length;
    return { start: start + from, end: start + to, said: said.slice(from, to) };
  }
  return undefined;
}

const outerMarks = /^["'\s.,-]+|["'\s.,-]+$/g;
const typed = /\s+|[“”„‟«»「」『』]|[‘’‚‛‹›`´]|…|[‐-―-]+/g;

/** The text in one way of typing; `origin[i]` is where the folded text's character `i` stood. */
function fold(text: string): { text: string; origin: number[] } {
  const origin: number[] = [];
  let folded = "";
  const add = (part: string, from: number, step: number) => {
    for (let i = 0; i < part.length; i++) origin.push(from + i * step);
    folded += part;
  };
  let at = 0;
  for (const match of text.matchAll(typed)) {
    add(text.slice(at, match.index), at, 1);
    add(plain(match[0]), match.index, 0);
    at = match.index + match[0].length;
  }
  add(text.slice(at), at, 1);
  return { text: folded, origin: [...origin, text.length] };
}

function plain(mark: string): string {
  if (/^\s/.test(mark)) return " ";
  if (mark === "…") return "...";
  if (/^[‐-―-]/.test(mark)) return "-";
  return /^[‘’‚‛‹›`´]/.test(mark) ? "'" : '"';
}
