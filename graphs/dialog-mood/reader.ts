import type { Entity } from "../../src/pipeline.ts";
import type { Turn } from "./exchanges.ts";
import type { ExchangeMood, Reading } from "./schema.ts";

/** Who reads the moods: a chat model, or the rules. */
export type Reader = {
  /** How many exchanges one node reads; each node's readings are kept when a run is interrupted. */
  readonly atOnce: number;
  /** Why this reader cannot read the entity, or undefined where it can. */
  declines(entity: Entity): string | undefined;
  exchange(turns: readonly Turn[], signal: AbortSignal | undefined): Promise<Reading>;
  whole(exchanges: readonly ExchangeMood[], signal: AbortSignal | undefined): Promise<Reading>;
};
