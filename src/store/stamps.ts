import { LoregraphError } from "../errors.ts";
import { sha256 } from "../hash.ts";
import type { Pipeline, Stamp } from "../pipeline.ts";

/** The part of a stamp that is the same for every entity. */
export type Maker = Pick<Stamp, "pipeline_version" | "model" | "prompt_hash">;

/** The names of the configured models; `chatName` is absent where there is none. */
export type ModelNames = { readonly chatName: string | undefined; readonly embeddingName: string };

/** What makes this pipeline's answers now. Throws MODEL_REQUIRED where it has neither a chat model nor rules. */
export function makerOf(pipeline: Pipeline, models: ModelNames): Maker {
  return {
    pipeline_version: pipeline.version,
    model: modelName(pipeline, models),
    prompt_hash: sha256(JSON.stringify(pipeline.prompts)),
  };
}

function modelName(pipeline: Pipeline, models: ModelNames): string {
  const name = pipeline.kind === "ingestion" ? models.embeddingName : (models.chatName ?? pipeline.local);
  if (name !== undefined) return name;
  throw new LoregraphError(
    "MODEL_REQUIRED",
    `${pipeline.name} has no rule-based branch, and no chat model is configured`,
  );
}

export function sameStamp(a: Stamp, b: Stamp): boolean {
  return stampKey(a) === stampKey(b);
}

/** A stamp as one line. */
export function stampKey({ pipeline_version, model, prompt_hash, input_hash }: Stamp): string {
  return [pipeline_version, model, prompt_hash, input_hash].join(" ");
}
