import { z } from "zod";
import { definePipeline } from "../../src/pipeline.ts";
import { traitsChanged } from "./changes.ts";
import { graph } from "./graph.ts";
import { namesOf } from "./names.ts";
import { passagesOfOthers } from "./passages.ts";
import { traitPrompt } from "./prompt.ts";
import { Answer, CharacterTraits } from "./schema.ts";

export default definePipeline({
  name: "character-traits",
  version: 1,
  trigger: { on: "entity.ingested", types: ["character"], mentioned: true },
  output: CharacterTraits,
  graph,
  // Models are sent the descriptions of the schema, too.
  prompts: [traitPrompt, JSON.stringify(z.toJSONSchema(Answer))],
  local: "wink-rules-1",
  // Aliases and the language are in the metadata: a new alias may prove a trait that no changed passage does.
  reads: async (entity, read) => ({
    names: namesOf(entity),
    language: entity.metadata.language ?? null,
    ...(await passagesOfOthers(entity, read)),
  }),
  measures: { traits: { kind: "setF1", by: "trait" }, passages: { kind: "exact" } },
  outcome: ({ passages }) => (passages === 0 ? "skipped" : "completed"),
  emits: [traitsChanged],
  // After other pending work, so that the scenes that came with a character are there to be read.
  priority: -10,
});
