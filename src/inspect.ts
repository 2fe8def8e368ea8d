import { basename } from "node:path";
import { z } from "zod";
import { splitChunks } from "./content/chunk.ts";
import { decodeText } from "./content/decode.ts";
import { findDialogue, type Utterance } from "./content/dialogue.ts";
import { findGutenberg } from "./content/gutenberg.ts";
import { detectKind } from "./content/kind.ts";
import { detectLanguage } from "./content/language.ts";
import { normalise } from "./content/normalise.ts";
import { type Novel, parseNovel } from "./content/novel.ts";
import type { Chunk, TextKind } from "./pipeline.ts";
import { novelDrafts } from "./sources/novel.ts";

/** What base ingestion would make of a file. Offsets are UTF-16 code units into its text, end exclusive. */
export type Inspection = {
  readonly file: string;
  readonly encoding: string;
  readonly notes: readonly string[];
  readonly characters: number;
  readonly kind: TextKind;
  readonly language: string | null;
  readonly title: string;
  readonly author: string | null;
  readonly chapters: readonly {
    readonly title: string;
    readonly start: number;
    readonly end: number;
    readonly scenes: number;
  }[];
  readonly dialogue: readonly Utterance[];
  readonly chunks: readonly Omit<Chunk, "text">[];
};

/** Inspects a file without storing anything. Throws FILE_UNREADABLE for what is no text. */
export function inspectFile(file: string, bytes: Uint8Array): Inspection {
  const { text, encoding, notes } = decodeText(bytes);
  const novel = parseNovel(text);
  const dialogue = bookDialogue(text);
  // A byte order mark is no part of the text, but whoever reads the file counts it.
  const shift = shiftedBy(startsWithMark(bytes) ? 1 : 0);
  return {
    file,
    encoding,
    notes,
    characters: text.length,
    kind: detectKind({ source_type: "content_block", text }, dialogue),
    language: novel.language ?? detectLanguage(text),
    title: novel.title,
    author: novel.author ?? null,
    chapters: novel.chapters.map(({ title, start, end, scenes }) =>
      shift({ title, start, end, scenes: scenes.length }),
    ),
    dialogue: dialogue.map(shift),
    chunks: chunksOf(file, text, novel, dialogue).map(shift),
  };
}

/** The text that an inspection's offsets count: with the byte order mark, where the file has one. */
export function inspectedText(bytes: Uint8Array): string {
  return `${startsWithMark(bytes) ? "\ufeff" : ""}${decodeText(bytes).text}`;
}

/** The spoken lines of the book; a licence quotes, but nobody speaks in it. */
function bookDialogue(text: string): readonly Utterance[] {
  const { start, end } = findGutenberg(normalise(text)) ?? { start: 0, end: text.length };
  return findDialogue(text.slice(start, end)).map(shiftedBy(start));
}

/** Block by block, as an import stores a novel. Blocks and lines both stand in order, so one walk serves all. */
function chunksOf(
  file: string,
  text: string,
  novel: Novel,
  dialogue: readonly Utterance[],
): readonly Omit<Chunk, "text">[] {
  let first = 0;
  return blocksOf(basename(file), text, novel).flatMap(({ title, start, end }) => {
    while ((dialogue[first]?.end ?? end) <= start) first++;
    let last = first;
    while ((dialogue[last]?.start ?? end) < end) last++;
    const utterances = dialogue.slice(first, last).map(shiftedBy(-start));
    const chunks = splitChunks(text.slice(start, end), { title, utterances });
    return chunks.map(({ text: _, ...chunk }) => shiftedBy(start)(chunk));
  });
}

/** The blocks under the paths that an import would give them. */
function blocksOf(file: string, text: string, novel: Novel) {
  const Place = z.object({ start: z.int(), end: z.int() });
  return novelDrafts({ tenant_id: "inspected", file, text, known: [], novel })
    .filter(({ source_type }) => source_type === "content_block")
    .map(({ title, metadata }) => ({ title, ...Place.parse(metadata) }));
}

function shiftedBy(by: number) {
  return <Part extends { readonly start: number; readonly end: number }>(part: Part): Part => ({
    ...part,
    start: part.start + by,
    end: part.end + by,
  });
}

function startsWithMark(bytes: Uint8Array): boolean {
  const head = Buffer.from(bytes.subarray(0, 3)).toString("hex");
  return head === "efbbbf" || head.startsWith("fffe") || head.startsWith("feff");
}
