import { END, START, StateGraph } from "@langchain/langgraph";
import { splitChunks } from "../../src/content/chunk.ts";
import { findDialogue } from "../../src/content/dialogue.ts";
import { detectKind } from "../../src/content/kind.ts";
import { detectLanguage } from "../../src/content/language.ts";
import { normalise } from "../../src/content/normalise.ts";
import { Entity, embeddedText, Ingested, packVector, type TextKind, type Tools } from "../../src/pipeline.ts";
import { Chunked, Spoken, State } from "./schema.ts";

/** A sheet's fields explain each other, so more of them stay together than of prose. Tokens. */
const sheetBudget = 512;

/** Normalises, tells what kind of text it is, cuts it into chunks, embeds them and names whom it speaks of. */
export function graph({ embed, read }: Tools) {
  return new StateGraph({ state: State, input: Entity, output: Ingested })
    .addNode("normaliseAndDetect", normaliseAndDetect, { input: Entity })
    .addNode("leaveEmpty", () => ({ chunks: [], vectors: [], mentions: [] }))
    .addNode("chunkSheet", ({ text, title }) => chunked(text, title, [], sheetBudget), { input: Entity })
    .addNode("chunkDialogue", ({ text, title, spoken }) => chunked(text, title, spoken), {
      input: Entity.extend(Spoken.shape),
    })
    .addNode("chunkNarration", ({ text, title }) => chunked(text, title, []), { input: Entity })
    .addNode(
      "embed",
      async ({ chunks }, { signal }) => ({
        vectors: (await embed(chunks.map(embeddedText), { signal })).map(packVector),
      }),
      { input: Chunked },
    )
    .addNode("mention", async ({ text }) => ({ mentions: [...(await read.mentioned(text))] }), {
      input: Entity,
    })
    .addEdge(START, "normaliseAndDetect")
    .addConditionalEdges("normaliseAndDetect", ({ kind }) => branches[kind], Object.values(branches))
    .addEdge("chunkSheet", "embed")
    .addEdge("chunkDialogue", "embed")
    .addEdge("chunkNarration", "embed")
    .addEdge("leaveEmpty", END)
    .addEdge("embed", "mention")
    .addEdge("mention", END);
}

const branches = {
  empty: "leaveEmpty",
  structured: "chunkSheet",
  dialogue: "chunkDialogue",
  narration: "chunkNarration",
} as const satisfies Record<TextKind, string>;

/** One step, so that checkpoints hold the text once: offsets into the normalised text are offsets into it. */
function normaliseAndDetect({ source_type, text }: Entity) {
  const plain = normalise(text);
  const spoken = findDialogue(plain).map(({ start, end }) => ({ start, end }));
  return { spoken, kind: detectKind({ source_type, text: plain }, spoken), language: detectLanguage(plain) };
}

function chunked(
  text: string,
  title: string,
  utterances: readonly { start: number; end: number }[],
  budget?: number,
) {
  return { chunks: splitChunks(text, { title, utterances, ...(budget === undefined ? {} : { budget }) }) };
}
