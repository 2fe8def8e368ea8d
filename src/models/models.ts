import type { ModelSettings } from "../config.ts";
import type { Pipeline, Tools, Usage } from "../pipeline.ts";
import type { ModelCall } from "./calls.ts";
import { chatModel } from "./chat.ts";
import { connection } from "./connection.ts";
import { embeddingBatches } from "./embedding-batches.ts";
import { embedder } from "./embeddings.ts";
import { fallbacks } from "./fallbacks.ts";
import { fetchThrough } from "./fetch.ts";
import { embedUnknown, type KnownVectors } from "./known-vectors.ts";
import { type Asker, chain, type Gate, type Layers } from "./layers.ts";
import { network } from "./network.ts";
import { chatCost, embeddingCost, priceOf, readPrices } from "./prices.ts";
import { usageRecorder } from "./usage.ts";

/** The models of one process. Outputs are stamped with their names. */
export type Models = {
  /** Absent where no chat model is configured. */
  readonly chatName: string | undefined;
  readonly embeddingName: string;
  /** Do the models run in this process, without key and network? */
  readonly local: boolean;
  /**
   * Models in use that the price table does not know, those that `pipelines` name among them: their calls are counted,
   * but cost nothing in the books.
   */
  unpriced(pipelines: Iterable<Pick<Pipeline, "models">>): readonly string[];
  /** US dollars for so many tokens, none of them cached; nothing for local models, and where no price is known. */
  costOf(tokens: { readonly in: number; readonly out: number; readonly embedding: number }): number;
  /** Lends the model tools to one attempt. */
  lend(options: LendOptions): Lent;
};

export type LendOptions = {
  /** Finds the vectors that the attempt's tenant already has. */
  readonly known: KnownVectors;
  /** For whom the models are asked; what is kept for a tenant is kept for this one. */
  readonly asker?: Asker;
  /** The chat models that it may ask: the first, where that is away the next. Defaults to the configured one. */
  readonly models?: readonly string[] | undefined;
  /** Holds the attempt's time while a question waits for its turn among those of all processes. */
  readonly hold?: () => Disposable;
  /** What each question to a model server waits for, right before it leaves; where it throws, nothing is asked. */
  readonly before?: Gate;
  /** Is told of each answer, before it is read, and waited for. */
  readonly onCall?: (call: ModelCall) => unknown;
};

/** The model tools of one attempt, and what it has used so far. */
export type Lent = Pick<Tools, "model" | "embed"> & {
  usage(): Usage;
  /** The attempt's answer was accepted: what servers answered it may be kept. */
  keep(): Promise<void>;
};

/**
 * Opens the configured models, or the local ones, behind the given layers. Calls nothing yet. Throws CONFIG_INVALID on
 * a wrong price table.
 */
export function openModels(settings: ModelSettings, layers: Layers = {}): Models {
  const prices = readPrices(settings.prices);
  const embeds = embedder(settings);
  const local = connection(settings) === undefined;
  const served = local ? [] : [settings.chatModel, embeds.model];
  const send = chain({ ...layers, batches: embeddingBatches, fallbacks }, network(settings.timeoutMs));
  return {
    chatName: local ? undefined : settings.chatModel,
    embeddingName: embeds.model,
    local,
    unpriced: (pipelines) => {
      const named = local ? [] : [...pipelines].flatMap(({ models = [] }) => models);
      return [...new Set([...served, ...named])].filter((model) => priceOf(prices, model) === undefined);
    },
    costOf: (tokens) =>
      local
        ? 0
        : chatCost(priceOf(prices, settings.chatModel), { in: tokens.in, cached: 0, out: tokens.out }) +
          embeddingCost(priceOf(prices, embeds.model), tokens.embedding),
    lend: ({
      known,
      asker,
      hold,
      models = [settings.chatModel],
      before = async () => {},
      onCall = () => {},
    }) => {
      const [chat = settings.chatModel, ...others] = models;
      const usage = usageRecorder();
      const told = async (call: ModelCall) => {
        usage.called(call);
        await onCall(call);
      };
      const fetch = fetchThrough(send, {
        prices,
        asker,
        gate: before,
        fallbacks: others,
        hold,
        onCall: told,
      });
      return {
        model: chatModel({ ...settings, chatModel: chat }, fetch),
        embed: embedUnknown(embeds, known, { usage, fetch }),
        usage: usage.total,
        keep: async () => {
          if (asker) await layers.cache?.keep(asker);
        },
      };
    },
  };
}
