import type { Passage, Reader } from "../pipeline.ts";
import type { Example } from "./examples.ts";

/** What a graph may read where only an example is there: its passages, whatever names are looked for, and no mentions. */
export function libraryOf({
  passages,
  previous,
  enrichments,
}: Pick<Example, "passages" | "previous" | "enrichments">): Reader {
  const placed = passages.map(placedAt);
  return {
    passages: async (_, limit = placed.length) => placed.slice(0, limit),
    mentioned: async () => [],
    previous: async () => previous,
    enrichment: async (pipeline) => enrichments[pipeline],
  };
}

/** Each passage is all of a scene of its own, whose id no example has by chance. */
function placedAt(text: string, at: number): Passage {
  const source_id = `5ce7e000-0000-4000-8000-${String(at + 1).padStart(12, "0")}`;
  return { source_type: "scene", source_id, path: "", text, start: 0, end: text.length };
}
