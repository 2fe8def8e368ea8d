import { sha256 } from "../hash.ts";
import type { Embed } from "../pipeline.ts";
import type { Embedder, Vector } from "./embeddings.ts";
import type { UsageRecorder } from "./usage.ts";

/** The vectors that one tenant already has by the embedder's model, by `sha256` of the embedded text. */
export type KnownVectors = (hashes: readonly string[]) => Promise<ReadonlyMap<string, Vector>>;

/** `embed` as graphs are lent it: each distinct text is embedded once, and not at all where its vector is known. */
export function embedUnknown(
  embedder: Embedder,
  known: KnownVectors,
  through: { readonly usage: UsageRecorder; readonly fetch: typeof fetch },
): Embed {
  const embed = async (
    texts: readonly string[],
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<readonly Vector[]> => {
    if (texts.length === 0) return [];
    const hashes = texts.map(sha256);
    const byHash = new Map(hashes.map((hash, at) => [hash, texts[at] ?? ""]));
    const found = await known([...byHash.keys()]);
    through.usage.reused(found.size);
    const unknown = [...byHash].filter(([hash]) => !found.has(hash));
    const made = await embedder.embed(
      unknown.map(([, text]) => text),
      { ...through, signal },
    );
    const vectors = new Map([...found, ...unknown.map(([hash], at) => [hash, made[at] ?? []] as const)]);
    return hashes.map((hash) => vectors.get(hash) ?? []);
  };
  return Object.defineProperties(embed, {
    model: { value: embedder.model },
    dimensions: { get: () => embedder.dimensions },
  }) as Embed;
}
