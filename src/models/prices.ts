import { z } from "zod";
import { readTable } from "./table.ts";

const Dollars = z.number().nonnegative();

/** US dollars per million tokens. `cached` is for prompt tokens the provider had in its cache; absent, they cost as `in`. */
const Price = z.union([
  z.strictObject({ in: Dollars, cached: Dollars.optional(), out: Dollars }),
  z.strictObject({ embedding: Dollars }),
]);
type Price = z.infer<typeof Price>;

/** Prices by model name, as `LOREGRAPH_PRICES` names them: `{ "gpt-4o-mini": { "in": 0.15, "out": 0.6 } }`. */
const Prices = z.record(z.string(), Price);
export type Prices = Readonly<z.infer<typeof Prices>>;

/** OpenAI's list prices for standard processing, as published in 2026; batch, priority and long-context rates differ. */
export const listPrices: Prices = {
  "gpt-3.5-turbo": { in: 0.5, out: 1.5 },
  "gpt-4-turbo": { in: 10, out: 30 },
  "gpt-4o": { in: 2.5, cached: 1.25, out: 10 },
  "gpt-4o-mini": { in: 0.15, cached: 0.075, out: 0.6 },
  "gpt-4.1": { in: 2, cached: 0.5, out: 8 },
  "gpt-4.1-mini": { in: 0.4, cached: 0.1, out: 1.6 },
  "gpt-4.1-nano": { in: 0.1, cached: 0.025, out: 0.4 },
  "gpt-5": { in: 1.25, cached: 0.125, out: 10 },
  "gpt-5-mini": { in: 0.25, cached: 0.025, out: 2 },
  "gpt-5-nano": { in: 0.05, cached: 0.005, out: 0.4 },
  "gpt-5.1": { in: 1.25, cached: 0.125, out: 10 },
  "gpt-5.2": { in: 1.75, cached: 0.175, out: 14 },
  o1: { in: 15, cached: 7.5, out: 60 },
  o3: { in: 2, cached: 0.5, out: 8 },
  "o3-mini": { in: 1.1, cached: 0.55, out: 4.4 },
  "o4-mini": { in: 1.1, cached: 0.275, out: 4.4 },
  "text-embedding-3-small": { embedding: 0.02 },
  "text-embedding-3-large": { embedding: 0.13 },
  "text-embedding-ada-002": { embedding: 0.1 },
};

/** The table in the JSON file at `path`, or the list prices. Throws CONFIG_INVALID. */
export function readPrices(path: string | undefined): Prices {
  if (path === undefined) return listPrices;
  return readTable("prices", path, Prices);
}

/** The price of a model; a dated snapshot (`gpt-4o-mini-2024-07-18`) costs as the model it is of. */
export function priceOf(prices: Prices, model: string): Price | undefined {
  return prices[model] ?? prices[model.replace(/-\d{4}-\d{2}-\d{2}$/, "")];
}

export type ChatTokens = {
  /** Prompt tokens, those that were cached among them. */
  readonly in: number;
  readonly cached: number;
  readonly out: number;
};

/** US dollars; nothing where the price is not known. */
export function chatCost(price: Price | undefined, tokens: ChatTokens): number {
  if (price === undefined || !("out" in price)) return 0;
  const { in: perIn, cached = perIn, out } = price;
  return ((tokens.in - tokens.cached) * perIn + tokens.cached * cached + tokens.out * out) / 1_000_000;
}

/** US dollars; nothing where the price is not known. */
export function embeddingCost(price: Price | undefined, tokens: number): number {
  return price !== undefined && "embedding" in price ? (tokens * price.embedding) / 1_000_000 : 0;
}
