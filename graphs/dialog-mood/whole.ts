import type { ExchangeMood, Mood, Reading } from "./schema.ts";

/**
 * The mood of all exchanges together, without asking anyone: the mood with the most lines behind it, each line
 * weighing what its exchange's reading is trusted, and the evidence of the exchange that speaks for it most.
 */
export function wholeOf(exchanges: readonly ExchangeMood[]): Reading {
  const mood = heaviest(exchanges);
  const speaking = exchanges.filter((exchange) => exchange.mood === mood);
  const all = sum(exchanges, weightOf);
  const lines = sum(exchanges, (exchange) => exchange.lines);
  const best = speaking.reduce<ExchangeMood | undefined>(stronger, undefined);
  return {
    mood,
    valence: round(sum(exchanges, (exchange) => exchange.valence * exchange.lines) / lines),
    confidence: all > 0 ? round((sum(speaking, weightOf) / all) * trustIn(speaking)) : 0,
    evidence: best?.evidence ?? "",
    evidence_at: best?.evidence_at ?? null,
  };
}

function heaviest(exchanges: readonly ExchangeMood[]): Mood {
  const weights = new Map<Mood, number>();
  for (const exchange of exchanges) {
    weights.set(exchange.mood, (weights.get(exchange.mood) ?? 0) + weightOf(exchange));
  }
  const [mood] = [...weights].toSorted(([, a], [, b]) => b - a)[0] ?? ["neutral"];
  return mood;
}

function stronger(best: ExchangeMood | undefined, one: ExchangeMood): ExchangeMood {
  return best && best.confidence >= one.confidence ? best : one;
}

function weightOf({ lines, confidence }: ExchangeMood): number {
  return lines * confidence;
}

/** The mean confidence of the readings, by lines. */
function trustIn(exchanges: readonly ExchangeMood[]): number {
  return sum(exchanges, weightOf) / sum(exchanges, ({ lines }) => lines);
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
