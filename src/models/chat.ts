import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { BaseMessage } from "@langchain/core/messages";
import type { ChatResult } from "@langchain/core/outputs";
import { ChatOpenAI, type ChatOpenAICallOptions } from "@langchain/openai";
import { z } from "zod";
import type { ModelSettings } from "../config.ts";
import { connection } from "./connection.ts";
import { answerInvalid, cutOff, declined, filtered, modelError } from "./errors.ts";

/**
 * The configured chat model, or undefined where none is. It asks through `fetch`, once, and throws a Loregraph error:
 * RATE_LIMITED, MODEL_REFUSED, MODEL_UNAVAILABLE, MODEL_ANSWER_INVALID, or what a layer of the chain threw. An aborted
 * call throws its signal's reason.
 */
export function chatModel(
  settings: ModelSettings,
  fetch: typeof globalThis.fetch,
): BaseChatModel | undefined {
  const reached = connection(settings);
  if (reached === undefined) return undefined;
  const { apiKey, timeout, maxRetries, ...configuration } = reached;
  return new ClassedChat({
    model: settings.chatModel,
    ...(settings.temperature !== undefined && { temperature: settings.temperature }),
    apiKey,
    timeout,
    maxRetries,
    // Whole answers only: a streamed one is billed by estimate and fails in the middle.
    streaming: false,
    // The client drops a refusal that stands in place of a text; `answered` looks for it there, and takes it away.
    __includeRawResponse: true,
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
  const [first] = result.generations;
  const message = first?.message;
  if (message === undefined) throw answerInvalid("the model server answered without a message");
  if (isRefusal(message)) throw declined();
  const finish_reason: unknown = first?.generationInfo?.finish_reason;
  if (finish_reason === "length") throw cutOff();
  if (finish_reason === "content_filter") throw filtered();
  const called =
    "tool_calls" in message && Array.isArray(message.tool_calls) && message.tool_calls.length > 0;
  if (message.text === "" && !called) throw answerInvalid("the model's answer is empty");
  return result;
}

const Refusal = z.object({
  choices: z.tuple([z.object({ message: z.object({ refusal: z.string().min(1) }) })]),
});

/** Did the model say no? Its raw answer goes with that: neither graphs nor checkpoints are to hold it twice. */
function isRefusal({ additional_kwargs }: BaseMessage): boolean {
  const { __raw_response, refusal } = additional_kwargs;
  delete additional_kwargs.__raw_response;
  return Boolean(refusal) || Refusal.safeParse(__raw_response).success;
}
