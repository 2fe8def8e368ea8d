import { expect, test } from "vitest";
import { answerOf, fakeModel, readExamples } from "../../testing.ts";
import pipeline from "./pipeline.ts";
import { Answer } from "./schema.ts";

const examples = await readExamples(new URL("examples.jsonl", import.meta.url), pipeline);
const entity =
  examples.find(({ input }) => input.text !== "")?.input ?? expect.fail("every example is empty");

test.each(examples)("reads $name by rules", async ({ input, expected }) => {
  expect(await answerOf(pipeline, input)).toMatchObject(expected);
});

test("takes a model's sentence, and finds where it stands", async () => {
  const sentence = entity.text.slice(0, entity.text.indexOf(".") + 1);
  const model = fakeModel().structuredResponse({ quote: sentence, confidence: 0.9 });

  const { quote, quote_at } = Answer.parse(await answerOf(pipeline, entity, { model }));

  expect(entity.text.slice(quote_at?.start, quote_at?.end)).toBe(quote);
  expect(sentence).toContain(quote);
});

test("drops what a model made up", async () => {
  const model = fakeModel().structuredResponse({ quote: "A dragon ate the harbour.", confidence: 0.9 });

  expect(await answerOf(pipeline, entity, { model })).toMatchObject({ quote: "", confidence: 0 });
});

test("asks no model where there is nothing to read", async () => {
  const model = fakeModel();

  await answerOf(pipeline, { ...entity, text: " \n" }, { model });

  expect(model.callCount).toBe(0);
});
