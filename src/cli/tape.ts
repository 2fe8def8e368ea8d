import { Option } from "@commander-js/extra-typings";
import type { Config } from "../config.ts";
import { LoregraphError } from "../errors.ts";
import { openTapedModels, type TapedModels } from "../models/taped.ts";
import type { Pipeline } from "../pipeline.ts";

/** Where models' answers are recorded. */
export const recordOption = () =>
  new Option("--record <file>", "ask what is not on this tape, and add it").conflicts("replay");

/** Where models' answers come from. */
export const replayOption = () =>
  new Option("--replay <file>", "ask nobody: every answer must be on this tape; needs no key");

export type Asked = {
  readonly model?: string | undefined;
  readonly record?: string | undefined;
  readonly replay?: string | undefined;
};

/** Opens the models that a command is told to use. Throws CONFIG_INVALID for a named one where there is no server. */
export async function openAskedModels(
  { models }: Pick<Config, "models">,
  { model, record, replay }: Asked,
): Promise<TapedModels> {
  const taped = await openTapedModels(models, { record, replay });
  if (model === undefined || !taped.open().local)
    return { ...taped, open: (other = model, temperature) => taped.open(other, temperature) };
  await taped.close();
  throw new LoregraphError(
    "CONFIG_INVALID",
    "--model names a chat model, but there is no model server: set OPENAI_API_KEY or OPENAI_BASE_URL",
  );
}

/** Says, where no model is configured, what reads in its place. */
export function tellOfRules({ name, local, kind }: Pipeline, models: { readonly local: boolean }): void {
  if (!models.local || kind === "ingestion" || local === undefined) return;
  process.stderr.write(`no model is configured: ${name} reads by its local rules, ${local}\n`);
}
