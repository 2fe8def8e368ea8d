import { countWords, findQuote } from "../../src/content/quote.ts";
import type { Turn } from "./exchanges.ts";
import type { Answer, Reading } from "./schema.ts";

/** Words that were said, and where in the entity's text. */
type Said = Pick<Turn, "said" | "start">;
type Evidence = Pick<Reading, "evidence" | "evidence_at">;

/**
 * Trusts an answer only if its evidence was really said. Decided: an invented quote leaves the mood to look at, but
 * takes its confidence away (0) and is itself dropped, so that nobody is shown words that are not in the text.
 */
export function checked(answer: Answer, turns: readonly Said[]): Reading {
  for (const turn of turns) {
    const found = evidenceIn(turn, answer.evidence);
    if (found) return { ...answer, ...found };
  }
  return { ...answer, confidence: 0, evidence: "", evidence_at: null };
}

function evidenceIn({ said, start }: Said, quote: string): Evidence | undefined {
  const at = findQuote(said, quote);
  if (!at) return undefined;
  const evidence = said.slice(at.start, at.end);
  const evidence_at = { start: start + at.start, end: start + at.end };
  return isTelling(evidence, said) ? { evidence, evidence_at } : undefined;
}

/** A single word this short, such as "I" or "you", stands in almost any line, whatever its mood. */
const shortestWord = 4;

/** Two words tell a mood, and so does a single one that is long enough ("Murderer!") or all of its line ("No!"). */
function isTelling(evidence: string, said: string): boolean {
  const letters = evidence.match(/\p{L}/gu)?.length ?? 0;
  return countWords(evidence) > 1 || letters >= shortestWord || countWords(said) === 1;
}
