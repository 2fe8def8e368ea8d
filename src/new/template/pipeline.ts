import { z } from "zod";
import { definePipeline } from "../../pipeline.ts";
import { graph } from "./graph.ts";
import { prompt } from "./prompt.ts";
import { Answer, Reading } from "./schema.ts";

export default definePipeline({
  name: "template",
  version: 1,
  trigger: { on: "entity.ingested", types: ["scene"] },
  output: Answer,
  graph,
  // When one of these changes, stored outputs are stale.
  prompts: [prompt, JSON.stringify(z.toJSONSchema(Reading))],
  local: "rules-1",
  outcome: ({ quote_at }) => (quote_at ? "completed" : "skipped"),
});
