import { END, Overwrite, Send, START, StateGraph } from "@langchain/langgraph";
import { registry } from "@langchain/langgraph/zod";
import { z } from "zod";
import { Entity, type Tools } from "../../src/pipeline.ts";
import { Exchange, exchangesOf, spanOf, speakersOf, spokenLines, Turn, turnsOf } from "./exchanges.ts";
import { modelReader } from "./model-reader.ts";
import type { Reader } from "./reader.ts";
import { ruleReader } from "./rule-reader.ts";
import { DialogMood, type ExchangeMood } from "./schema.ts";

/** What is heard is kept as offsets: the text is in the state already. */
const Heard = z.object({ heard: z.array(Exchange) });
/** What one `Send` carries: the words of its exchanges and nothing else of the text. */
const Talks = z.object({ talks: z.array(z.array(Turn).min(1)) });

const State = Entity.extend({
  ...Heard.shape,
  ...DialogMood.shape,
  // LangGraph hands over what a step wrote in the order of its sends, whichever answered first.
  exchanges: DialogMood.shape.exchanges.register(registry, {
    reducer: { fn: (read: readonly ExchangeMood[], more: readonly ExchangeMood[]) => [...read, ...more] },
    default: () => [],
  }),
});
type State = z.infer<typeof State>;

/**
 * Reads the mood of each exchange of spoken lines, then of all of them, and trusts a mood only if its evidence was
 * really said. With a model, exchanges are read side by side, a few at a time; without one, by rules for English.
 */
export function graph({ model }: Pick<Tools, "model">) {
  const reader = model ? modelReader(model) : ruleReader;

  return new StateGraph({ state: State, input: Entity, output: DialogMood })
    .addNode("listen", (entity) => listen(reader, entity), { input: Entity })
    .addNode("skip", skip, { input: DialogMood.pick({ reason: true }) })
    .addNode("readTalks", ({ talks }, { signal }) => readTalks(reader, talks, signal), { input: Talks })
    .addNode("readWhole", ({ exchanges }, { signal }) => reader.whole(exchanges, signal), {
      input: State.pick({ exchanges: true }),
    })
    .addEdge(START, "listen")
    .addConditionalEdges("listen", (state) => (state.reason ? "skip" : sendTalks(reader, state)), [
      "skip",
      "readTalks",
    ])
    .addEdge("readTalks", "readWhole")
    .addEdge("readWhole", END)
    .addEdge("skip", END);
}

/** Finds the lines, and the reason to stop where there are none or they cannot be read. Clears an earlier answer. */
function listen(reader: Reader, entity: Entity) {
  const lines = spokenLines(entity.text);
  const reason = lines.length === 0 ? "nobody speaks" : reader.declines(entity);
  const heard = reason ? [] : exchangesOf(entity.text, lines);
  return { heard, lines: lines.length, reason, exchanges: new Overwrite<ExchangeMood[]>([]) };
}

/** That nobody speaks is certain; of lines in a foreign language nothing is. */
function skip({ reason }: Pick<DialogMood, "reason">) {
  const confidence = reason === "nobody speaks" ? 1 : 0;
  return { mood: null, valence: 0, confidence, evidence: "", evidence_at: null };
}

function sendTalks({ atOnce }: Reader, { text, heard }: Pick<State, "text" | "heard">): Send[] {
  const talks = heard.map((exchange) => turnsOf(text, exchange));
  const size = Math.min(atOnce, talks.length);
  const batches = Math.ceil(talks.length / size);
  return Array.from(
    { length: batches },
    (_, i) => new Send("readTalks", { talks: talks.slice(i * size, (i + 1) * size) }),
  );
}

async function readTalks(reader: Reader, talks: readonly Turn[][], signal: AbortSignal | undefined) {
  const exchanges: ExchangeMood[] = [];
  for (const turns of talks) exchanges.push(await readTalk(reader, turns, signal));
  return { exchanges };
}

async function readTalk(
  reader: Reader,
  turns: Turn[],
  signal: AbortSignal | undefined,
): Promise<ExchangeMood> {
  const exchange = { lines: turns };
  const reading = await reader.exchange(turns, signal);
  return { ...spanOf(exchange), ...reading, speakers: speakersOf(exchange), lines: turns.length };
}
