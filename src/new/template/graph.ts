import { END, START, StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { asker } from "../../ask.ts";
import { findQuote } from "../../content/quote.ts";
import { Entity, type Tools } from "../../pipeline.ts";
import { question } from "./prompt.ts";
import { mostTelling, sentencesOf } from "./rules.ts";
import { Answer, Reading } from "./schema.ts";

const Sentences = z.object({ sentences: z.array(z.string()) });
const State = Entity.extend({ ...Sentences.shape, ...Answer.shape });

/** Finds the sentence that tells most, by the model or, without one, by rules; trusts it only if it stands in the text. */
export function graph({ model }: Pick<Tools, "model">) {
  const ask = model && asker(model, Reading, { name: "reading" });

  return new StateGraph({ state: State, input: Entity, output: Answer })
    .addNode("split", ({ text }) => ({ sentences: sentencesOf(text) }), { input: Entity })
    .addNode("skip", () => ({ quote: "", quote_at: null, confidence: 1, reason: "nothing to read" }))
    .addNode(
      "read",
      ({ sentences }, { signal }) => ask?.(question(sentences), signal) ?? mostTelling(sentences),
      { input: Sentences },
    )
    .addNode("check", ({ text, quote }) => checked(text, quote), { input: Entity.extend(Reading.shape) })
    .addEdge(START, "split")
    .addConditionalEdges("split", ({ sentences }) => (sentences.length > 0 ? "read" : "skip"), [
      "read",
      "skip",
    ])
    .addEdge("read", "check")
    .addEdge("check", END)
    .addEdge("skip", END);
}

/** An invented quote is dropped, and its confidence with it. */
function checked(text: string, quote: string) {
  const at = findQuote(text, quote);
  if (!at) return { quote: "", quote_at: null, confidence: 0 };
  return { quote: text.slice(at.start, at.end), quote_at: { start: at.start, end: at.end } };
}
