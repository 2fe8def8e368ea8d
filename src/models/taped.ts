import type { ModelSettings } from "../config.ts";
import { LoregraphError } from "../errors.ts";
import { connection } from "./connection.ts";
import type { Layers } from "./layers.ts";
import { type Models, openModels } from "./models.ts";
import { recordTape, replayTape, type Tape } from "./tape.ts";

export type TapeOptions = {
  /** A tape that is added to: what stands on it is not asked again. */
  readonly record?: string | undefined;
  /** A tape that answers everything: nothing is asked. */
  readonly replay?: string | undefined;
};

export type TapedModels = {
  /** The models, with another chat model where one is named; `temperature` is the client's where it is not given. */
  open(chatModel?: string, temperature?: number): Models;
  close(): Promise<void>;
};

/**
 * Opens models whose answers are recorded or replayed. A replay needs neither key nor network: it uses the models that
 * the tape was recorded with, the local ones where it was those. Throws FILE_UNREADABLE and INPUT_INVALID.
 */
export async function openTapedModels(
  settings: ModelSettings,
  { record, replay }: TapeOptions,
  layers: Omit<Layers, "tape"> = {},
): Promise<TapedModels> {
  if (record !== undefined && replay !== undefined)
    throw new LoregraphError("INPUT_INVALID", "expected to record or to replay, got both");
  const tape = record !== undefined ? await recordTape(record, headerOf(settings)) : undefined;
  const played = replay !== undefined ? await replayTape(replay) : undefined;
  const used = played ? replaying(settings, played) : settings;
  const all = { ...layers, tape: (tape ?? played)?.layer };
  return {
    open: (chatModel = used.chatModel, temperature = used.temperature) =>
      openModels({ ...used, chatModel, temperature }, all),
    close: async () => await (tape ?? played)?.close(),
  };
}

function headerOf(settings: ModelSettings): Tape["header"] {
  const { chatModel: chat_model, embeddingModel: embedding_model } = settings;
  return { local: connection(settings) === undefined, chat_model, embedding_model };
}

/** No server is asked, whatever stands here. */
function replaying(settings: ModelSettings, { header }: Tape): ModelSettings {
  const { local, chat_model: chatModel, embedding_model: embeddingModel } = header;
  const server = local
    ? { apiKey: undefined, baseUrl: undefined }
    : { apiKey: "replayed", baseUrl: settings.baseUrl ?? "http://127.0.0.1:9/v1" };
  return { ...settings, chatModel, embeddingModel, ...server };
}
