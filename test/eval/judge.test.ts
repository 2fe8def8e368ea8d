import { expect, test } from "vitest";
import { z } from "zod";
import { evaluate } from "../../src/eval/evaluate.ts";
import { openModels } from "../../src/models/models.ts";
import { type Answer, completion, localSettings, serverAnswering, settingsFor } from "../models/server.ts";
import { echo } from "../support/pipelines.ts";

const rubric = "Is it about the same lamp?";
const pipeline = {
  ...echo(() => ({ said: "A lamp went out." })),
  measures: { said: { kind: "judge", rubric, model: "judge-model" } },
} as const;

const example = {
  name: "the lamp",
  input: {
    tenant_id: "00000000-0000-4000-8000-000000000001",
    source_type: "scene",
    source_id: "00000000-0000-4000-8000-000000000002",
    version: 1,
    title: "The quay",
    text: "The lamp on the quay went out.",
    metadata: {},
  },
  passages: [],
  enrichments: {},
  expected: { said: "The quay's lamp failed." },
} as const;

/** Evaluates one example whose field a model at a server judges. */
async function judged(answer: Answer) {
  const server = await serverAnswering(() => answer);
  const settings = settingsFor(server.url);
  const { cases, fields } = await evaluate({
    pipeline,
    models: openModels(localSettings),
    judgeBy: (chatModel = "configured") =>
      openModels({ ...settings, chatModel }).lend({ known: async () => new Map() }).model,
    examples: [example],
    rejected: 0,
    data: "examples.jsonl",
    atOnce: 1,
    signal: new AbortController().signal,
  });
  return { requests: server.requests, only: cases[0], fields };
}

const Asked = z.object({ messages: z.array(z.object({ content: z.string() })) });
const says = (judgement: unknown) => completion({ content: JSON.stringify(judgement) });

test("a field is scored by the model that its measure names, from rubric, text, and what was expected and given", async () => {
  const { requests, only, fields } = await judged(says({ reason: "It is the same lamp.", score: 0.75 }));

  expect(only).toMatchObject({ error: null, scores: { said: { score: 0.75, why: "It is the same lamp." } } });
  expect(fields).toMatchObject([{ field: "said", measure: "judge", examples: 1, mean: 0.75 }]);
  expect(requests).toHaveLength(1);
  expect(requests[0]?.body.model).toBe("judge-model");
  const [, asked] = Asked.parse(requests[0]?.body).messages;
  expect(JSON.parse(asked?.content ?? "")).toEqual({
    ...{ rubric, field: "said", text: example.input.text },
    ...{ expected: "The quay's lamp failed.", given: "A lamp went out." },
  });
});

test.each([
  ["a score that is none", says({ reason: "Very right.", score: 7 })],
  ["no judgement", completion({ content: "It is the same lamp." })],
  ["a refusal", completion({ refusal: "I cannot judge that." })],
])("%s is no score: the example counts as wrong, and says why", async (_, answer) => {
  const { only } = await judged(answer);

  expect(only).toMatchObject({ scores: { said: { score: 0 } }, error: { code: "MODEL_ANSWER_INVALID" } });
});

test("without a chat model nobody judges, and that is said before anything is asked", async () => {
  const models = openModels(localSettings);
  const evaluating = evaluate({
    ...{ pipeline, models, examples: [example], rejected: 0, data: "examples.jsonl", atOnce: 1 },
    judgeBy: () => undefined,
    signal: new AbortController().signal,
  });

  await expect(evaluating).rejects.toMatchObject({
    code: "MODEL_REQUIRED",
    message: expect.stringContaining("said is measured by a judge"),
  });
});
