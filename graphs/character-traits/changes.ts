import { z } from "zod";
import type { Emitted } from "../../src/pipeline.ts";
import { groupOf } from "./lexicon.ts";
import type { Trait } from "./schema.ts";

export const traitsChanged = "character.traits_changed";

/** All that is needed of an earlier answer; one from before this shape counts as none. */
const Earlier = z.object({ traits: z.array(z.object({ trait: z.string() })) }).catch({ traits: [] });

/** The event that says which traits came and went since `previous`, or none where the set is the same. */
export function traitEvents(traits: readonly Trait[], previous: unknown): Emitted[] {
  const before = Earlier.parse(previous).traits;
  const [added, removed] = [without(traits, before), without(before, traits)];
  return added.length + removed.length === 0 ? [] : [{ event: traitsChanged, metadata: { added, removed } }];
}

type Named = Pick<Trait, "trait">;

/** The traits of `those` that `these` lack. "Bold" and "daring" are the same one. */
function without(those: readonly Named[], these: readonly Named[]): readonly string[] {
  const groups = new Set(these.map(({ trait }) => groupOf(trait)));
  return those.filter(({ trait }) => !groups.has(groupOf(trait))).map(({ trait }) => trait);
}
