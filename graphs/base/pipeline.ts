import { defineIngestion } from "../../src/pipeline.ts";
import { graph } from "./graph.ts";

/** Base ingestion: every change of an entity is read, cut into chunks and embedded. */
export default defineIngestion({
  name: "base",
  version: 1,
  trigger: { on: "entity.changed" },
  graph,
});
