import { inspect } from "node:util";
import { LLMock } from "@copilotkit/aimock";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { fakeModel } from "@langchain/core/testing";
import { tool } from "@langchain/core/tools";
import { END, START, StateGraph } from "@langchain/langgraph";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { z } from "zod";
import { LoregraphError } from "../../src/errors.ts";
import { chatModel } from "../../src/models/chat.ts";
import { classifyModelError } from "../../src/models/errors.ts";
import type { UsageRecorder } from "../../src/models/usage.ts";
import {
  type Answer,
  breakingServer,
  closedUrl,
  completion,
  counted,
  expectWait,
  key,
  localSettings,
  secret,
  serverAnswering,
  settingsFor,
  silentServer,
} from "./server.ts";

const Mood = z.object({
  mood: z.enum(["calm", "hostile"]).nullable(),
  confidence: z.number().min(0).max(1),
});
const prompt = `What is the mood? ${secret} sighs.`;
const calm = { mood: "calm", confidence: 0.5 };

function open(settings = localSettings): { model: BaseChatModel; usage: UsageRecorder } {
  const { usage, fetch } = counted(settings.timeoutMs);
  const model = chatModel(settings, fetch);
  if (model === undefined) throw new Error("expected a configured chat model");
  return { model, usage };
}

function read(model: BaseChatModel, signal?: AbortSignal): Promise<unknown> {
  return model.withStructuredOutput(Mood).invoke(prompt, signal ? { signal } : {});
}

async function thrownBy(work: Promise<unknown>): Promise<LoregraphError> {
  const error = await work.then(
    (value) => expect.fail(`expected an error, got: ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof LoregraphError)) throw error;
  return error;
}

/** What a logger may print: everything `inspect` and JSON reach, hidden properties and causes among it. */
function printed(error: unknown): string {
  return `${inspect(error, { depth: 20, showHidden: true })} ${JSON.stringify(error)} ${(error as Error).stack}`;
}

test("is absent where nothing is configured", () => {
  expect(chatModel(localSettings, counted().fetch)).toBeUndefined();
});

test("needs no key where a base URL is set", async () => {
  const { url } = await serverAnswering(() => completion({ content: "Hello" }));

  const answer = await open(settingsFor(url, { apiKey: undefined })).model.invoke(prompt);

  expect(answer.text).toBe("Hello");
});

test("reads and counts a model of the Responses API in the same way", async () => {
  const content = [{ type: "output_text", text: JSON.stringify(calm), annotations: [] }];
  const body = {
    id: "resp_1",
    object: "response",
    status: "completed",
    model: "gpt-5.2-pro",
    output: [{ type: "message", id: "msg_1", role: "assistant", status: "completed", content }],
    usage: {
      input_tokens: 1_000,
      input_tokens_details: { cached_tokens: 200 },
      output_tokens: 100,
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: 1_100,
    },
  };
  const { url, requests } = await serverAnswering(() => ({ body }));
  const { model, usage } = open(settingsFor(url, { chatModel: "gpt-5.2-pro" }));

  expect(await read(model)).toEqual(calm);
  expect(requests.map(({ path }) => path)).toEqual(["/v1/responses"]);
  expect(usage.total()).toMatchObject({
    model_calls: 1,
    tokens_in: 1_000,
    tokens_cached: 200,
    tokens_out: 100,
  });
});

describe("against aimock", () => {
  const mock = new LLMock({ port: 0, auth: { apiKeys: [key] }, logLevel: "silent" });
  beforeAll(() => mock.start());
  afterAll(() => mock.stop());
  beforeEach(() => {
    mock.clearFixtures();
    mock.clearRequests();
  });

  test("answers in the schema's shape, and counts tokens and cost", async () => {
    mock.onMessage(secret, {
      content: JSON.stringify(calm),
      usage: { prompt_tokens: 2_000, completion_tokens: 500, total_tokens: 2_500 },
    });
    const { model, usage } = open(settingsFor(mock.url));

    expect(await read(model)).toEqual(calm);
    expect(usage.total()).toMatchObject({
      model_calls: 1,
      tokens_in: 2_000,
      tokens_cached: 0,
      tokens_out: 500,
    });
    expect(usage.total().cost_usd).toBeCloseTo((2_000 * 0.15 + 500 * 0.6) / 1e6, 12);
  });

  test("asks for the schema strictly", async () => {
    mock.onMessage(secret, { content: JSON.stringify(calm) });

    await read(open(settingsFor(mock.url)).model);

    expect(mock.getLastRequest()?.body).toMatchObject({
      response_format: { type: "json_schema", json_schema: { strict: true, schema: { type: "object" } } },
    });
  });

  test("says when to come back from a rate limit, and does not try again by itself", async () => {
    const error = { message: `Slow down, ${key}: ${secret}`, type: "requests", code: "rate_limit_exceeded" };
    mock.onMessage(secret, { error, status: 429, retryAfter: 7 });
    const since = Date.now();

    const thrown = await thrownBy(read(open(settingsFor(mock.url)).model));

    expect(thrown.code).toBe("RATE_LIMITED");
    expect(thrown.message).toBe("the model server answered 429 (rate_limit_exceeded, requests)");
    expectWait(thrown.after, 7, since);
    expect(mock.getRequests()).toHaveLength(1);
  });

  test("refuses for good with a wrong key", async () => {
    const { model, usage } = open(settingsFor(mock.url, { apiKey: "another-key" }));

    const thrown = await thrownBy(read(model));

    expect(thrown).toMatchObject({
      code: "MODEL_REFUSED",
      message: "the model server answered 401 (invalid_api_key, authentication_error)",
    });
    expect(usage.total().model_calls).toBe(0);
  });

  test("calls tools, and stays classed and counted with tools bound", async () => {
    mock.onMessage(secret, { toolCalls: [{ name: "look", arguments: '{"where":"tower"}' }] });
    const { model, usage } = open(settingsFor(mock.url));
    const look = tool(() => "", {
      name: "look",
      description: "Looks",
      schema: z.object({ where: z.string() }),
    });
    const bound = model.bindTools?.([look]);

    const answer = await bound?.invoke(prompt);

    expect(answer?.tool_calls).toMatchObject([{ name: "look", args: { where: "tower" } }]);
    expect(usage.total().model_calls).toBe(1);
    mock.clearFixtures();
    mock.onMessage(secret, { error: { message: secret }, status: 503 });
    expect(await thrownBy(Promise.resolve(bound?.invoke(prompt)))).toMatchObject({
      code: "MODEL_UNAVAILABLE",
    });
  });

  test("streams as one whole answer, counted once", async () => {
    mock.onMessage(secret, { content: "All is well", usage: { prompt_tokens: 10, completion_tokens: 3 } });
    const { model, usage } = open(settingsFor(mock.url));
    const pieces: string[] = [];

    for await (const piece of await model.stream(prompt)) pieces.push(piece.text);

    expect(pieces).toEqual(["All is well"]);
    expect(usage.total()).toMatchObject({ model_calls: 1, tokens_in: 10, tokens_out: 3 });
  });
});

describe("an answer that cannot be used", () => {
  const malformed: readonly (readonly [string, Answer])[] = [
    ["no JSON", completion({ content: `The mood of ${secret} is calm` })],
    ["JSON that breaks off", completion({ content: `{"mood":"calm","confidence":0.` })],
    ["a missing field", completion({ content: `{"mood":"calm"}` })],
    ["a wrong type", completion({ content: `{"mood":"calm","confidence":"${secret}"}` })],
    ["a word outside the enum", completion({ content: `{"mood":"${secret}","confidence":0.5}` })],
    ["a number out of range", completion({ content: `{"mood":"calm","confidence":50}` })],
    ["null", completion({ content: "null" })],
    ["a list", completion({ content: "[]" })],
    ["an empty text", completion({ content: "" })],
    ["no content", completion({ content: null })],
    ["a refusal", completion({ content: null, refusal: `I will not talk about ${secret}` })],
    ["an answer cut off at its length limit", completion({ content: `{"mood":"ca` }, "length")],
    ["an answer stopped by a filter", completion({ content: `{"mood":"ca` }, "content_filter")],
  ];

  test.each([
    ["length", "was cut off at its limit of tokens: let it be longer, or ask for less"],
    ["content_filter", "content filter stopped the answer: ask in other words"],
  ])("says what to do where it ended by %s, asked for a shape or not", async (reason, advice) => {
    const { url } = await serverAnswering(() => completion({ content: `{"mood":"ca` }, reason));
    const { model } = open(settingsFor(url));

    expect((await thrownBy(read(model))).message).toContain(advice);
    expect((await thrownBy(model.invoke("Hello?"))).message).toContain(advice);
  });

  test("says that the model refused, asked for a shape or not, and hands on no raw answer", async () => {
    const refusal = completion({ content: null, refusal: `I will not talk about ${secret}` });
    const { url } = await serverAnswering(({ body }) =>
      JSON.stringify(body).includes("Hello?") ? completion({ content: "Hello." }) : refusal,
    );
    const { model } = open(settingsFor(url));

    expect((await thrownBy(read(model))).message).toContain("the model refused to answer");
    expect((await thrownBy(model.invoke("Who came?"))).message).toContain("the model refused to answer");
    expect(JSON.stringify(await model.invoke("Hello?"))).not.toContain("chat.completion");
  });

  test.each(malformed)("raises MODEL_ANSWER_INVALID for %s, and counts what it cost", async (_, answer) => {
    const { url } = await serverAnswering(() => answer);
    const { model, usage } = open(settingsFor(url));

    const thrown = await thrownBy(read(model));

    expect(thrown.code).toBe("MODEL_ANSWER_INVALID");
    expect(printed(thrown)).not.toContain(secret);
    expect(usage.total()).toMatchObject({
      model_calls: 1,
      tokens_in: 1_000,
      tokens_cached: 200,
      tokens_out: 100,
    });
    expect(usage.total().cost_usd).toBeCloseTo((800 * 0.15 + 200 * 0.075 + 100 * 0.6) / 1e6, 12);
  });

  test.each<[string, Answer]>([
    ["no choices", { body: { ...(completion({}).body as object), choices: [] } }],
    ["an empty object", { body: {} }],
    ["an empty body", { body: "" }],
    ["JSON that breaks off", { body: `{"id": "${secret}", ` }],
    ["a web page", { body: `<html>${secret}</html>`, headers: { "content-type": "text/html" } }],
  ])("raises MODEL_ANSWER_INVALID for a body with %s", async (_, answer) => {
    const { url } = await serverAnswering(() => answer);

    const thrown = await thrownBy(read(open(settingsFor(url)).model));

    expect(thrown.code).toBe("MODEL_ANSWER_INVALID");
    expect(printed(thrown)).not.toContain(secret);
  });

  test("raises it for a model that answers by tool call, too", async () => {
    const arguments_ = JSON.stringify({ mood: secret, confidence: 0.5 });
    const call = { id: "call_1", type: "function", function: { name: "extract", arguments: arguments_ } };
    const { url } = await serverAnswering(() => completion({ tool_calls: [call] }, "tool_calls"));
    const { model } = open(settingsFor(url, { chatModel: "gpt-3.5-turbo" }));

    const thrown = await read(model).catch((error: unknown) => classifyModelError(error));

    expect(thrown).toMatchObject({ code: "MODEL_ANSWER_INVALID" });
    expect(printed(thrown)).not.toContain(secret);
  });
});

describe("a refused request", () => {
  test.each<[number, string, string]>([
    [400, "invalid_request_error", "MODEL_REFUSED"],
    [400, "context_length_exceeded", "MODEL_REFUSED"],
    [401, "invalid_api_key", "MODEL_REFUSED"],
    [403, "unsupported_country_region_territory", "MODEL_REFUSED"],
    [404, "model_not_found", "MODEL_REFUSED"],
    [413, "too_large", "MODEL_REFUSED"],
    [422, "unprocessable", "MODEL_REFUSED"],
    [408, "timeout", "MODEL_UNAVAILABLE"],
    [409, "conflict", "MODEL_UNAVAILABLE"],
    [500, "server_error", "MODEL_UNAVAILABLE"],
    [503, "overloaded", "MODEL_UNAVAILABLE"],
    [429, "rate_limit_exceeded", "RATE_LIMITED"],
  ])("of status %i (%s) is %s, and says neither key nor prompt", async (status, code, expected) => {
    const error = { message: `${code}: Bearer ${key} asked: ${prompt}`, code, type: secret, param: key };
    const { url } = await serverAnswering(() => ({
      status,
      body: { error },
      headers: { "x-echo": `${key} ${secret}` },
    }));

    const thrown = await thrownBy(read(open(settingsFor(url)).model));

    expect(thrown.code).toBe(expected);
    expect(printed(thrown)).not.toContain(key);
    expect(printed(thrown)).not.toContain(secret);
  });

  test("waits ten minutes for a spent quota rather than fail every run", async () => {
    const error = { message: "You exceeded your current quota", code: "insufficient_quota" };
    const { url } = await serverAnswering(() => ({ status: 429, body: { error } }));
    const since = Date.now();

    const thrown = await thrownBy(read(open(settingsFor(url)).model));

    expect(thrown).toMatchObject({
      code: "RATE_LIMITED",
      message: "the model server answered 429 (insufficient_quota)",
    });
    expectWait(thrown.after, 600, since);
  });

  test.each<[string, () => Record<string, string>, number]>([
    ["seconds", () => ({ "retry-after": "3" }), 3],
    ["a date", () => ({ "retry-after": new Date(Date.now() + 30_000).toUTCString() }), 30],
    ["milliseconds", () => ({ "retry-after-ms": "1500", "retry-after": "9" }), 1.5],
    ["nothing", () => ({}), 20],
    ["nonsense", () => ({ "retry-after": "soon" }), 20],
    ["a date long past", () => ({ "retry-after": "Mon, 01 Jan 2001 00:00:00 GMT" }), 0],
    ["a year", () => ({ "retry-after": "31536000" }), 3_600],
  ])("waits as long as a rate limit says in %s", async (_, headers, expected) => {
    const { url } = await serverAnswering(() => ({
      status: 429,
      headers: headers(),
      body: { error: { message: "Slow down" } },
    }));
    const since = Date.now();

    const thrown = await thrownBy(read(open(settingsFor(url)).model));

    expectWait(thrown.after, expected, since);
  });

  test("passes on when an overloaded server wants to be asked again", async () => {
    const { url } = await serverAnswering(() => ({
      status: 503,
      headers: { "retry-after": "12" },
      body: "busy",
    }));
    const since = Date.now();

    const thrown = await thrownBy(read(open(settingsFor(url)).model));

    expect(thrown.code).toBe("MODEL_UNAVAILABLE");
    expectWait(thrown.after, 12, since);
  });
});

describe("a server that cannot be reached", () => {
  test.each<[string, string | undefined]>([
    ["says nothing", undefined],
    ["stops in the middle of its answer", '{"id":'],
  ])("is MODEL_UNAVAILABLE after the timeout when it %s", async (_, first) => {
    const { url } = await silentServer(first);
    const started = Date.now();

    const thrown = await thrownBy(read(open(settingsFor(url, { timeoutMs: 300 })).model));

    expect(thrown).toMatchObject({
      code: "MODEL_UNAVAILABLE",
      message: "the model server did not answer in time",
    });
    expect(Date.now() - started).toBeLessThan(4_000);
  });

  test("is MODEL_UNREACHABLE when nothing listens, and says why", async () => {
    const thrown = await thrownBy(read(open(settingsFor(await closedUrl())).model));

    expect(thrown).toMatchObject({
      code: "MODEL_UNREACHABLE",
      message: "the model server cannot be reached (ECONNREFUSED)",
    });
  });

  test("is MODEL_UNAVAILABLE when it hangs up in the middle of its answer", async () => {
    const thrown = await thrownBy(read(open(settingsFor(await breakingServer())).model));

    expect(thrown.code).toBe("MODEL_UNAVAILABLE");
    expect(printed(thrown)).not.toContain(key);
  });
});

describe("an abort", () => {
  test.each<[string, string | undefined]>([
    ["before the answer", undefined],
    ["in the middle of it", '{"id":'],
  ])("ends a call at once, %s, with the signal's reason", async (_, first) => {
    const { url, asked } = await silentServer(first);
    const stop = new AbortController();
    const reason = new Error("the run was cancelled");

    const ended = expect(read(open(settingsFor(url)).model, stop.signal)).rejects.toBe(reason);
    await asked;
    stop.abort(reason);

    await ended;
  });

  test("ends a plain call, too", async () => {
    const { url, asked } = await silentServer();
    const stop = new AbortController();
    const reason = new Error("the run was cancelled");
    const call = open(settingsFor(url)).model.invoke(prompt, { signal: stop.signal });
    const ended = expect(call).rejects.toBe(reason);

    await asked;
    stop.abort(reason);

    await ended;
  });

  test("is no model error", () => {
    expect(classifyModelError(new DOMException("aborted", "AbortError"))).toBeUndefined();
  });
});

describe("in a graph", () => {
  const Scene = z.object({ text: z.string() });

  function moodGraph(model: BaseChatModel) {
    const reader = model.withStructuredOutput(Mood);
    return new StateGraph({ state: Scene.extend(Mood.shape), input: Scene, output: Mood })
      .addNode("readMood", ({ text }, { signal }) => reader.invoke(text, { signal }))
      .addEdge(START, "readMood")
      .addEdge("readMood", END)
      .compile();
  }

  test("reads the same from a server and from a fake", async () => {
    const { url } = await serverAnswering(() => completion({ content: JSON.stringify(calm) }));

    expect(await moodGraph(open(settingsFor(url)).model).invoke({ text: prompt })).toEqual(calm);
    expect(await moodGraph(fakeModel().structuredResponse(calm)).invoke({ text: prompt })).toEqual(calm);
  });

  test("throws the classed error through LangGraph", async () => {
    const { url } = await serverAnswering(() => ({
      status: 429,
      headers: { "retry-after": "5" },
      body: { error: { message: secret } },
    }));

    const thrown = await moodGraph(open(settingsFor(url)).model)
      .invoke({ text: prompt })
      .catch((error: unknown) => classifyModelError(error));

    expect(thrown).toMatchObject({ code: "RATE_LIMITED", after: expect.any(Date) });
    expect(printed(thrown)).not.toContain(secret);
  });
});
