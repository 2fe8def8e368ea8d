import type { Reading } from "./schema.ts";

const bySentence = new Intl.Segmenter(undefined, { granularity: "sentence" });

export function sentencesOf(text: string): string[] {
  return [...bySentence.segment(text)].map(({ segment }) => segment.trim()).filter((each) => each !== "");
}

/** Reads without a model: the sentence whose words the whole text uses most. A guess, and it says so. */
export function mostTelling(sentences: readonly string[]): Reading {
  const uses = new Map<string, number>();
  for (const word of sentences.flatMap(wordsOf)) uses.set(word, (uses.get(word) ?? 0) + 1);
  const scored = sentences.map((quote) => ({ quote, score: scoreOf(wordsOf(quote), uses) }));
  const [best] = scored.toSorted((a, b) => b.score - a.score);
  return { quote: best?.quote ?? "", confidence: 0.3 };
}

/** Short words say little, and a long sentence is not better for its length alone. */
function scoreOf(words: readonly string[], uses: ReadonlyMap<string, number>): number {
  const known = words.reduce((sum, word) => sum + (uses.get(word) ?? 0), 0);
  return known / Math.sqrt(words.length || 1);
}

function wordsOf(sentence: string): readonly string[] {
  return sentence.toLowerCase().match(/\p{L}{4,}/gu) ?? [];
}
