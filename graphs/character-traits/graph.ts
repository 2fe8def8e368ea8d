import { END, Overwrite, Send, START, StateGraph } from "@langchain/langgraph";
import { registry } from "@langchain/langgraph/zod";
import { z } from "zod";
import { isEnglish } from "../../src/content/english.ts";
import { Entity, type Tools } from "../../src/pipeline.ts";
import { traitEvents } from "./changes.ts";
import { mergeTraits, provedClaims } from "./merge.ts";
import { type AskModel, modelAsker } from "./model-reader.ts";
import { namesOf } from "./names.ts";
import { batchesOf, type Gathered, gatherPassages, NumberedPassage } from "./passages.ts";
import { claimsByRules } from "./rules.ts";
import { CharacterTraits, LocatedClaim } from "./schema.ts";

/** What one `Send` carries. */
const Batch = z.object({ names: z.array(z.string()), batch: z.array(NumberedPassage) });
type Batch = z.infer<typeof Batch>;

const State = Entity.extend({
  gathered: z.array(NumberedPassage),
  // LangGraph hands over what a step wrote in the order of its sends, whichever answered first.
  claims: z
    .array(LocatedClaim)
    .register(registry, { reducer: { fn: (held, more) => [...held, ...more] }, default: () => [] }),
  ...CharacterTraits.shape,
});
type State = z.infer<typeof State>;

const Gatherings = Entity.extend({ gathered: State.shape.gathered, reason: State.shape.reason });
const Claimed = State.pick({ gathered: true, claims: true });

/**
 * Reads what a character is like from its own text and the passages that name it, an even sample where they are more
 * than 200; trusts a trait only if the quoted words stand there, and says which traits came and went since the last
 * time. With a model, passages are read in batches, a few at a time; without one, by rules for English.
 */
export function graph({ model, read }: Pick<Tools, "model" | "read">) {
  const ask = model ? modelAsker(model) : undefined;

  return new StateGraph({ state: State, input: Entity, output: CharacterTraits })
    .addNode("gather", async (entity) => begin(await gatherPassages(entity, read)), { input: Entity })
    .addNode("nothingToRead", () => ({ reason: "no text of its own, and no passage names it" }))
    .addNode("readBatch", (batch, { signal }) => readBatch(ask, batch, signal), { input: Batch })
    .addNode("readByRules", (state, { signal }) => readByRules(state, signal), { input: Gatherings })
    .addNode("proveAndMerge", proveAndMerge, { input: Claimed })
    .addNode("compare", async ({ traits }) => ({ events: traitEvents(traits, await read.previous()) }), {
      input: CharacterTraits,
    })
    .addEdge(START, "gather")
    .addConditionalEdges(
      "gather",
      (state) => {
        if (state.gathered.length === 0) return "nothingToRead";
        return ask ? sendBatches(state) : "readByRules";
      },
      ["nothingToRead", "readByRules", "readBatch"],
    )
    .addEdge("nothingToRead", "proveAndMerge")
    .addEdge("readByRules", "proveAndMerge")
    .addEdge("readBatch", "proveAndMerge")
    .addEdge("proveAndMerge", "compare")
    .addEdge("compare", END);
}

/** Clears what an earlier run on the same thread left. */
function begin({ gathered, reason }: Gathered) {
  const claims = new Overwrite<LocatedClaim[]>([]);
  return { gathered, claims, passages: gathered.length, reason };
}

function sendBatches(state: State): Send[] {
  const names = namesOf(state);
  return batchesOf(state.gathered).map((batch) => new Send("readBatch", { names, batch }));
}

async function readBatch(ask: AskModel | undefined, batch: Batch, signal: AbortSignal | undefined) {
  return { claims: ask ? await ask(batch.names, batch.batch, signal) : [] };
}

/** The character's metadata speaks for its own text; the language of the others' shows in theirs. */
async function readByRules(state: z.infer<typeof Gatherings>, signal: AbortSignal | undefined) {
  const { gathered, reason, metadata } = state;
  const english = gathered.filter(({ own, passage }) =>
    isEnglish(passage.text, own ? metadata.language : undefined),
  );
  const left = gathered.length - english.length;
  const leftOut = `the rules read English only: ${left} of ${gathered.length} passages left out`;
  return {
    claims: await claimsByRules(namesOf(state), english, signal),
    passages: english.length,
    reason: [reason, left > 0 ? leftOut : null].filter(Boolean).join("; ") || null,
  };
}

function proveAndMerge({ claims, gathered }: z.infer<typeof Claimed>) {
  return { traits: mergeTraits(provedClaims(claims, gathered)) };
}
