import { setImmediate as breathe } from "node:timers/promises";
import { OpenAIClient } from "@langchain/openai";
import { z } from "zod";
import type { ModelSettings } from "../config.ts";
import { connection } from "./connection.ts";
import { answerInvalid, modelError } from "./errors.ts";
import { localDimensions, localEmbedding, localModel } from "./local-embeddings.ts";
import type { UsageRecorder } from "./usage.ts";

export type Vector = readonly number[];

type EmbedOptions = {
  /** Counts what is embedded in this process; what a server embeds is told by its `fetch`. */
  readonly usage: UsageRecorder;
  /** How a server is reached. */
  readonly fetch: typeof fetch;
  readonly signal?: AbortSignal | undefined;
};

/** Turns texts into vectors of equal length, in the texts' order. */
export type Embedder = {
  readonly model: string;
  /** 0 until the first answer of a model whose size is not known. */
  readonly dimensions: number;
  embed(texts: readonly string[], options: EmbedOptions): Promise<readonly Vector[]>;
};

/** The configured embedding model, or the local one. A server's errors are classed as the chat model's are. */
export function embedder(settings: ModelSettings): Embedder {
  const reached = connection(settings);
  return reached === undefined
    ? localEmbedder()
    : serverEmbedder((fetch) => new OpenAIClient({ ...reached, fetch }), settings.embeddingModel);
}

const textsBetweenBreaths = 32;

function localEmbedder(): Embedder {
  const vectorOf = localEmbedding();
  return {
    model: localModel,
    dimensions: localDimensions,
    async embed(texts, { usage, signal }) {
      const vectors: Vector[] = [];
      if (texts.length > 0) usage.embeddedHere();
      for (const text of texts) {
        // Heartbeats and aborts must get their turn.
        if (vectors.length % textsBetweenBreaths === 0) await breathe();
        signal?.throwIfAborted();
        vectors.push(vectorOf(text));
      }
      return vectors;
    },
  };
}

const knownDimensions: Readonly<Record<string, number>> = {
  "text-embedding-3-small": 1536,
  "text-embedding-3-large": 3072,
  "text-embedding-ada-002": 1536,
};

function serverEmbedder(open: (through: typeof fetch) => OpenAIClient, model: string): Embedder {
  let dimensions = knownDimensions[model] ?? 0;
  return {
    model,
    get dimensions() {
      return dimensions;
    },
    async embed(texts, { fetch, signal }) {
      const client = open(fetch);
      const vectors: Vector[] = [];
      for (const batch of batches(texts)) {
        const answer = await embedBatch(client, model, batch, signal);
        dimensions ||= answer[0]?.length ?? 0;
        if (answer.some((vector) => vector.length !== dimensions)) {
          throw answerInvalid(`expected vectors of ${dimensions} dimensions, got others`);
        }
        vectors.push(...answer);
      }
      return vectors;
    },
  };
}

// A token is at least one byte, so a request stays below the 300,000 tokens that OpenAI takes, whatever its tokenizer.
export const mostTexts = 256;
export const mostBytes = 250_000;

/** Slices that one request carries. A text longer than a request may be goes alone, for the server to refuse. */
export function* batches(texts: readonly string[]): Generator<readonly string[]> {
  let batch: string[] = [];
  let bytes = 0;
  for (const text of texts) {
    const size = Buffer.byteLength(text);
    if (batch.length === mostTexts || (batch.length > 0 && bytes + size > mostBytes)) {
      yield batch;
      [batch, bytes] = [[], 0];
    }
    batch.push(text);
    bytes += size;
  }
  if (batch.length > 0) yield batch;
}

const Vector = z.custom<Vector>(
  (value) => Array.isArray(value) && value.length > 0 && value.every(Number.isFinite),
);

const Answer = z.object({ data: z.array(z.object({ index: z.int().nonnegative(), embedding: Vector })) });

// LangChain's OpenAIEmbeddings takes no signal; the client beneath it does.
async function embedBatch(
  client: OpenAIClient,
  model: string,
  batch: readonly string[],
  signal: AbortSignal | undefined,
): Promise<readonly Vector[]> {
  try {
    const answer = await client.embeddings.create({ model, input: [...batch] }, signal ? { signal } : {});
    return inOrder(answer, batch.length);
  } catch (error) {
    signal?.throwIfAborted();
    throw modelError(error);
  }
}

function inOrder(answer: unknown, expected: number): readonly Vector[] {
  const { data, success } = Answer.safeParse(answer);
  if (!success) throw answerInvalid("the answer is not a list of vectors");
  const byIndex = new Map(data.data.map(({ index, embedding }) => [index, embedding]));
  return Array.from({ length: expected }, (_, index) => {
    const vector = byIndex.get(index);
    if (vector === undefined) throw answerInvalid(`expected ${expected} vectors, got: ${byIndex.size}`);
    return vector;
  });
}
