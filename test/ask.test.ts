import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { fakeModel } from "@langchain/core/testing";
import { expect, test } from "vitest";
import { z } from "zod";
import { asker } from "../src/ask.ts";

const Answer = z.object({ said: z.string() });

/** A model whose answers the test gives, question by question. */
function answering() {
  const asked: string[] = [];
  const answers = new Map<string, PromiseWithResolvers<unknown>>();
  const model = {
    withStructuredOutput: () => ({
      invoke: (question: unknown) => {
        asked.push(String(question));
        const answer = Promise.withResolvers<unknown>();
        answers.set(String(question), answer);
        return answer.promise;
      },
    }),
  } as unknown as BaseChatModel;
  const settle = (question: string) => answers.get(question) ?? Promise.withResolvers<unknown>();
  return { asked, settle, ask: asker(model, Answer, { name: "answer", atOnce: 2 }) };
}

/** Lets what is due happen. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

test("asks a few questions at a time", async () => {
  const { ask, asked, settle } = answering();
  const all = ["a", "b", "c"].map((question) => ask([question], undefined));
  await turn();
  expect(asked).toEqual(["a", "b"]);

  settle("a").resolve({ said: "A" });
  await turn();
  expect(asked).toEqual(["a", "b", "c"]);

  settle("b").resolve({ said: "B" });
  settle("c").resolve({ said: "C" });
  expect(await Promise.all(all)).toEqual([{ said: "A" }, { said: "B" }, { said: "C" }]);
});

test("tells a failure only when the others under way have been answered, and begins no new one", async () => {
  const { ask, asked, settle } = answering();
  const order: string[] = [];
  const all = ["a", "b", "c"].map((question) =>
    ask([question], undefined).then(
      () => order.push(`${question} answered`),
      () => order.push(`${question} failed`),
    ),
  );
  await turn();
  settle("a").reject(new Error("away"));
  await turn();
  expect(order).toEqual([]);

  settle("b").resolve({ said: "B" });
  await Promise.all(all);
  expect(order[0]).toBe("b answered");
  expect(order).toContain("a failed");
  expect(order).toContain("c failed");
  expect(asked).toEqual(["a", "b"]);
});

test("asks again once nothing is under way any more", async () => {
  const { ask, settle } = answering();
  const failing = ask(["a"], undefined);
  await turn();
  settle("a").reject(new Error("away"));
  await expect(failing).rejects.toThrow("away");

  const next = ask(["b"], undefined);
  await turn();
  settle("b").resolve({ said: "B" });
  expect(await next).toEqual({ said: "B" });
});

test("refuses an answer of another shape without quoting it", async () => {
  const ask = asker(fakeModel().structuredResponse({ said: 12, secret: "a line of the text" }), Answer, {
    name: "mood",
  });

  await expect(ask(["?"], undefined)).rejects.toMatchObject({
    code: "MODEL_ANSWER_INVALID",
    message: "the model's mood has not the asked shape (wrong: said)",
  });
});
