import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { ChatResult } from "@langchain/core/outputs";
import { ChatOpenAI, type ChatOpenAICallOptions } from "@langchain/openai";
import { z } from "zod";
import type { ModelSettings } from "../config.ts";
import { connection } from "./connection.ts";
import { answerInvalid, modelError } from "./errors.ts";
import type { ChatTokens } from "./prices.ts";
import type { UsageRecorder } from "./usage.ts";

/**
 * The configured chat model, or undefined where none is. It tries once, and throws a Loregraph error: RATE_LIMITED,
 * MODEL_REFUSED, MODEL_UNAVAILABLE or MODEL_ANSWER_INVALID. An aborted call throws its signal's reason. What `before`
 * throws comes out of the call that waited for it.
 */
export function chatModel(
  settings: ModelSettings,
  usage: UsageRecorder,
  before: () => Promise<void> = async () => {},
): BaseChatModel | undefined {
  const reached = connection(settings);
  if (reached === undefined) return undefined;
  const { chatModel: model } = settings;
  const { apiKey, timeout, maxRetries, ...configuration } = reached;
  const fetch = metered((tokens) => usage.chatted(model, tokens), before);
  return new ClassedChat({
    model,
    apiKey,
    timeout,
    maxRetries,
    // Whole answers only: a streamed one is billed by estimate and fails in the middle.
    streaming: false,
    configuration: { ...configuration, fetch },
  });
}

/** ChatOpenAI whose errors are classed, and which never hands on an empty answer. */
class ClassedChat extends ChatOpenAI {
  override async _generate(...call: Parameters<ChatOpenAI["_generate"]>): Promise<ChatResult> {
    const [, { signal }] = call;
    try {
      return answered(await super._generate(...call));
    } catch (error) {
      signal?.throwIfAborted();
      throw modelError(error);
    }
  }

  // ChatOpenAI's own makes a plain ChatOpenAI, and `withStructuredOutput` and `bindTools` go through it.
  override withConfig(config: Partial<ChatOpenAICallOptions>): ClassedChat {
    const configured = new ClassedChat(this.fields);
    configured.defaultOptions = { ...this.defaultOptions, ...config };
    return configured;
  }
}

function answered(result: ChatResult): ChatResult {
  const message = result.generations[0]?.message;
  if (message === undefined) throw answerInvalid("the model server answered without a message");
  if (message.additional_kwargs.refusal) throw answerInvalid("the model refused to answer");
  const called =
    "tool_calls" in message && Array.isArray(message.tool_calls) && message.tool_calls.length > 0;
  if (message.text === "" && !called) throw answerInvalid("the model's answer is empty");
  return result;
}

/**
 * `fetch` that notes what each answer was billed. LangChain tells of usage only where it could read the answer, but
 * one that was cut off or malformed is paid for too. Each question waits for `before`.
 */
function metered(note: (tokens: ChatTokens) => void, before: () => Promise<void>): typeof fetch {
  return async (input, init) => {
    await before();
    const response = await fetch(input, init);
    if (!response.ok) return response;
    const body = await response.text();
    note(billed(body));
    return new Response(body, response);
  };
}

/** A server's books are not ours to trust: what is no count is none. */
const count = z.int().nonnegative().catch(0);
const details = z.object({ cached_tokens: count }).catch({ cached_tokens: 0 });

const Completion = z.object({
  usage: z.object({ prompt_tokens: count, completion_tokens: count, prompt_tokens_details: details }),
});

/** The same, as the Responses API says it. */
const Responded = z.object({
  usage: z.object({
    input_tokens: z.number().pipe(count),
    output_tokens: count,
    input_tokens_details: details,
  }),
});

/** What an answer's body says it cost: no tokens where the server does not say. */
function billed(body: string): ChatTokens {
  const json = jsonOf(body);
  const responded = Responded.safeParse(json);
  if (responded.success) {
    const { input_tokens, output_tokens, input_tokens_details } = responded.data.usage;
    return tokens(input_tokens, input_tokens_details.cached_tokens, output_tokens);
  }
  const completion = Completion.safeParse(json);
  if (!completion.success) return { in: 0, cached: 0, out: 0 };
  const { prompt_tokens, completion_tokens, prompt_tokens_details } = completion.data.usage;
  return tokens(prompt_tokens, prompt_tokens_details.cached_tokens, completion_tokens);
}

/** Cached tokens are some of those that went in. */
function tokens(all: number, cached: number, out: number): ChatTokens {
  return { in: all, cached: Math.min(cached, all), out };
}

// That the body is no JSON is the client's to raise, when it reads the same body.
function jsonOf(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return undefined;
  }
}
