import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import { sha256 } from "../hash.ts";
import type { Pipeline, Stamp } from "../pipeline.ts";

/** The part of a stamp that is the same for every entity. */
export type Maker = Omit<Stamp, "input_hash">;

/** The names of the configured models; `chatName` is absent where there is none. */
export type ModelNames = { readonly chatName: string | undefined; readonly embeddingName: string };

/** What makes this pipeline's answers now. Throws MODEL_REQUIRED where it has neither a chat model nor rules. */
export function makerOf(pipeline: Pipeline, models: ModelNames): Maker {
  return {
    pipeline_version: pipeline.version,
    model: modelName(pipeline, models),
    prompt_hash: promptHash(pipeline),
    fingerprint: pipeline.code.fingerprint,
  };
}

export function promptHash({ prompts }: Pick<Pipeline, "prompts">): string {
  return sha256(JSON.stringify(prompts));
}

function modelName(pipeline: Pipeline, models: ModelNames): string {
  const { chatName, embeddingName } = models;
  const chat = chatName === undefined ? pipeline.local : (pipeline.models?.[0] ?? chatName);
  const name = pipeline.kind === "ingestion" ? embeddingName : chat;
  if (name !== undefined) return name;
  throw new LoregraphError(
    "MODEL_REQUIRED",
    `${pipeline.name} has no rule-based branch, and no chat model is configured`,
  );
}

/** What decides whether an output is stale. Other code is not among it: a comment must not cost a tenant its outputs. */
export const Deciding = z.object({
  pipeline_version: z.int(),
  model: z.string(),
  prompt_hash: z.string(),
  input_hash: z.string(),
}) satisfies z.ZodType<Omit<Stamp, "fingerprint">>;
export type Deciding = Readonly<z.infer<typeof Deciding>>;

/** Would the one be made as the other was? A changed graph says so by its version. */
export function sameStamp(a: Deciding, b: Deciding): boolean {
  return decidingKey(a) === decidingKey(b);
}

function decidingKey({ pipeline_version, model, prompt_hash, input_hash }: Deciding): string {
  return [pipeline_version, model, prompt_hash, input_hash].join(" ");
}

/** A stamp as one line, for checkpoints: what one code has begun no other goes on with, whatever their versions say. */
export function stampKey(stamp: Stamp): string {
  return `${decidingKey(stamp)} ${stamp.fingerprint}`.trimEnd();
}
