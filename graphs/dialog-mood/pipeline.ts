import { z } from "zod";
import { definePipeline } from "../../src/pipeline.ts";
import { graph } from "./graph.ts";
import { exchangePrompt, wholePrompt } from "./prompt.ts";
import { Answer, DialogMood } from "./schema.ts";

export default definePipeline({
  name: "dialog-mood",
  version: 1,
  trigger: {
    on: "entity.ingested",
    types: ["scene", "beat", "content_block"],
    when: ({ content_kind }) => content_kind !== "outline",
  },
  output: DialogMood,
  graph,
  // Models are sent the descriptions of the schema, too.
  prompts: [exchangePrompt, wholePrompt, JSON.stringify(z.toJSONSchema(Answer))],
  local: "wink-rules-1",
  reads: ({ metadata }) => metadata.language ?? null,
  measures: {
    mood: { kind: "exact" },
    valence: { kind: "numeric", within: 0.3 },
    evidence: { kind: "wordF1" },
    exchanges: { kind: "partial" },
  },
  outcome: ({ mood }) => (mood === null ? "skipped" : "completed"),
});
