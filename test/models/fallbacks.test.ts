import { expect, test } from "vitest";
import type { ModelCall } from "../../src/models/calls.ts";
import { openModels } from "../../src/models/models.ts";
import { type Answer, completion, serverAnswering, settingsFor } from "./server.ts";

const away: Answer = { status: 503, body: {} };

/** A model that may fall back from `first` to `second`, at a server whose models answer as they are told to. */
async function asking(answers: Readonly<Record<string, Answer>>) {
  const server = await serverAnswering(({ body }) => answers[String(body.model)] ?? away);
  const calls: ModelCall[] = [];
  const { model } = openModels(settingsFor(server.url)).lend({
    known: async () => new Map(),
    models: ["first", "second"],
    onCall: (call) => void calls.push(call),
  });
  if (model === undefined) throw new Error("expected a chat model, got: none");
  const asked = () => server.requests.map(({ body }) => body.model);
  return { ask: async () => (await model.invoke("Hello?")).text, asked, calls };
}

const says = (content: string) => completion({ content });

test("the first model is asked alone while it answers", async () => {
  const { ask, asked, calls } = await asking({ first: says("one"), second: says("two") });

  expect(await ask()).toBe("one");
  expect(asked()).toEqual(["first"]);
  expect(calls).toMatchObject([{ model: "first" }]);
});

test.each([
  ["fails", away],
  ["refuses for now", { status: 429, headers: { "retry-after": "600" }, body: {} }],
])("the next is asked where the one before %s, and the books name who answered", async (_, first) => {
  const { ask, asked, calls } = await asking({ first, second: says("two") });

  expect(await ask()).toBe("two");
  expect(asked()).toEqual(["first", "second"]);
  expect(calls).toMatchObject([{ model: "second", tokens_in: 1_000 }]);
});

test("what the first refuses for good is asked of no other", async () => {
  const { ask, asked } = await asking({ first: { status: 400, body: {} }, second: says("two") });

  await expect(ask()).rejects.toMatchObject({ code: "MODEL_REFUSED" });
  expect(asked()).toEqual(["first"]);
});

test("where none answers, the last one says why", async () => {
  const { ask } = await asking({ second: { status: 429, headers: { "retry-after": "60" }, body: {} } });

  await expect(ask()).rejects.toMatchObject({ code: "RATE_LIMITED" });
});
