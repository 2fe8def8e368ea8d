import { readFileSync } from "node:fs";
import { MemorySaver } from "@langchain/langgraph";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { Entity, embeddedText, Ingested, type Tools, unpackVector } from "../../src/pipeline.ts";
import pipeline from "./pipeline.ts";

const scene: Entity = {
  tenant_id: "3f0b1c52-8a57-4c9f-9d9e-0c8d5f1b7a01",
  source_type: "scene",
  source_id: "3f0b1c52-8a57-4c9f-9d9e-0c8d5f1b7a02",
  version: 1,
  title: "The Slip",
  text: "“You are late,” said Orla.\n\nThe tide had been early.",
  metadata: {},
};

/** Embeds a text as its length and remembers what it was given. */
function measuring(): Tools & { readonly embedded: string[] } {
  const embedded: string[] = [];
  const embed = async (texts: readonly string[]) => {
    embedded.push(...texts);
    return texts.map((text) => [text.length, 1]);
  };
  return {
    embedded,
    embed: Object.assign(embed, { model: "measuring", dimensions: 2 }),
    read: {
      passages: async () => [],
      previous: async () => undefined,
      enrichment: async () => undefined,
      mentioned: async (text) =>
        text.includes("Orla") ? [{ source_type: "character", source_id: orla }] : [],
    },
  };
}

const orla = "3f0b1c52-8a57-4c9f-9d9e-0c8d5f1b7a03";

async function ingest(entity: Entity, tools: Tools = measuring()): Promise<Ingested> {
  return Ingested.parse(await pipeline.graph(tools).compile().invoke(entity));
}

test("embeds each chunk under its heading, in order", async () => {
  const tools = measuring();
  const { chunks, vectors } = await ingest(scene, tools);

  expect(tools.embedded).toEqual(chunks.map(embeddedText));
  expect(tools.embedded[0]).toMatch(/^\[H\] The Slip\n“You are late,”/);
  expect(vectors.map((vector) => unpackVector(vector)[0])).toEqual(
    tools.embedded.map(({ length }) => length),
  );
});

test("gives each chunk the exact place of its text in the source", async () => {
  const text = "\ufeffOne\u00a0bell.\r\n\r\n“Two\tbells,” said Wenna.\r\n".repeat(80);
  const { chunks } = await ingest({ ...scene, text });

  expect(chunks.length).toBeGreaterThan(1);
  for (const chunk of chunks) expect(chunk.text).toBe(text.slice(chunk.start, chunk.end));
});

test("embeds nothing where there is nothing to read", async () => {
  const tools = measuring();

  expect(await ingest({ ...scene, text: " \n " }, tools)).toEqual({
    kind: "empty",
    language: null,
    chunks: [],
    vectors: [],
    mentions: [],
  });
  expect(tools.embedded).toEqual([]);
});

test("names whom the text speaks of", async () => {
  expect((await ingest(scene)).mentions).toEqual([{ source_type: "character", source_id: orla }]);
  expect((await ingest({ ...scene, text: "Nobody came to the slip that night." })).mentions).toEqual([]);
});

test("keeps the fields of a sheet together longer than prose", async () => {
  const fields = "Habit: counts the ropes at dusk, twice, by touch, and never says the number\n".repeat(20);
  const sheet = await ingest({ ...scene, source_type: "character", text: fields });
  const prose = await ingest({
    ...scene,
    text: fields.replaceAll("Habit: counts", "She counts").replaceAll("\n", ". "),
  });

  expect(sheet.kind).toBe("structured");
  expect(sheet.chunks.length).toBeLessThan(prose.chunks.length);
});

test("keeps the text once in its checkpoints", async () => {
  const thread = { configurable: { thread_id: "one" } };
  const app = pipeline.graph(measuring()).compile({ checkpointer: new MemorySaver() });
  await app.invoke(scene, thread);

  const { values } = await app.getState(thread);

  expect(Object.keys(values).filter((channel) => values[channel] === scene.text)).toEqual(["text"]);
});

describe("examples", () => {
  const Example = z.object({
    name: z.string(),
    input: Entity.required(),
    expected: z.looseObject({ chunks: z.array(z.unknown()) }),
  });
  const examples = readFileSync(new URL("examples.jsonl", import.meta.url), "utf8")
    .trim()
    .split("\n")
    .map((line) => Example.parse(JSON.parse(line)));

  test.each(examples)("$name", async ({ input, expected }) => {
    const answer = await ingest(input);

    expect(answer).toMatchObject(expected);
    expect(answer.chunks).toHaveLength(expected.chunks.length);
  });
});
