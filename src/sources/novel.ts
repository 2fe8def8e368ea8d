import { createHash } from "node:crypto";
import { parse } from "node:path";
import { v5 } from "uuid";
import { storable } from "../content/decode.ts";
import { detectLanguage } from "../content/language.ts";
import { type Chapter, type Novel, parseNovel, type Scene } from "../content/novel.ts";
import type { Metadata, SourceType } from "../pipeline.ts";
import { alignSiblings, type Sibling } from "./align.ts";
import type { Draft } from "./draft.ts";

/** What an earlier import of the same file stored. `parent_id` is null for the story; the others where another source wrote it. */
export type Known = {
  readonly source_id: string;
  readonly source_type: SourceType;
  readonly parent_id: string | null;
  readonly order: number | null;
  readonly digest: string | null;
};

export type NovelFile = {
  readonly tenant_id: string;
  /** Its name without folders: with the tenant, it is the story's identity. */
  readonly file: string;
  /** The decoded text. Offsets in metadata are offsets into it. */
  readonly text: string;
  /** Empty for a first import. */
  readonly known: readonly Known[];
  /** The text as `parseNovel` reads it, where the caller has done so already. */
  readonly novel?: Novel;
};

/**
 * The novel as story, chapters, scenes and content blocks, parents first, in reading order. Only content blocks carry
 * text, so that nothing is stored, embedded or paid for twice.
 *
 * The same file gives the same ids. Imported again after an edit, what is equal keeps its id, what was changed keeps
 * the id of what stood in its place, and only what was inserted gets a new one.
 */
export function novelDrafts({ tenant_id, file, text, known, novel = parseNovel(text) }: NovelFile): Draft[] {
  const story = storyOf(novel, file, text);
  const source_id = v5(`urn:loregraph:${tenant_id}/${file.toWellFormed()}`, v5.URL);
  const ids = identities(known);
  return drafted({ ...story, source_id, order: 1 }, { ids, story_id: source_id });
}

/** One entity to be, without its place among others. */
type Node = Sibling & {
  readonly source_type: SourceType;
  readonly title: string;
  readonly text: string;
  readonly metadata: Metadata;
  readonly children: readonly Node[];
};

function storyOf(novel: Novel, file: string, text: string): Node {
  const title = novel.title || parse(file).name;
  const language = novel.language ?? detectLanguage(text) ?? undefined;
  const children = novel.chapters.map((chapter, at) => chapterOf(chapter, at, title, novel, text));
  const { author } = novel;
  return node("story", title, { start: 0, end: text.length, file, author, language }, text, children);
}

function chapterOf(chapter: Chapter, at: number, story: string, novel: Novel, text: string): Node {
  const { start, end, part, scenes } = chapter;
  const isWhole = novel.chapters.length === 1 && chapter.title === "";
  const name = chapter.title || (at === 0 ? "Opening" : `Chapter ${at + 1}`);
  const path = isWhole ? [story] : [story, ...(part ? [part] : []), name];
  const title = isWhole ? story : path.slice(1).join(" · ");
  const children = scenes.map((scene, index) => {
    const name = scene.title ?? (scenes.length > 1 ? `Scene ${index + 1}` : "");
    const suffix = name && ` · ${name}`;
    return sceneOf(scene, title + suffix, path.join(" > ") + suffix, text);
  });
  return node("chapter", title, { start, end, part }, text, children);
}

/** A block's title is its whole path, for it is all that its chunks know of where they stand. */
function sceneOf({ start, end, blocks }: Scene, title: string, path: string, text: string): Node {
  const children = blocks.map((block) => node("content_block", path, block, text, []));
  return node("scene", title, { start, end }, text, children);
}

type Place = { readonly start: number; readonly end: number };

function node(
  source_type: SourceType,
  title: string,
  metadata: Metadata & Place,
  text: string,
  children: readonly Node[],
): Node {
  const slice = text.slice(metadata.start, metadata.end);
  const digest = createHash("sha256").update(slice).digest("hex");
  return {
    source_type,
    title: storable(title).text,
    text: source_type === "content_block" ? storable(slice).text : "",
    metadata: { ...stored(metadata), digest },
    digest,
    parts: children.flatMap((child) => [child.digest, ...child.parts]),
    children,
  };
}

/** What is known, as Postgres can store it. */
function stored(metadata: Metadata): Metadata {
  return Object.fromEntries(
    Object.entries(metadata)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, typeof value === "string" ? storable(value).text : value]),
  );
}

type Identities = {
  readonly childrenOf: (parent_id: string) => readonly (Sibling & Pick<Known, "source_id">)[];
  /** An id that no other entity of this file has or had at its last import. */
  readonly mint: (parent_id: string, digest: string) => string;
};

type Placed = Node & { readonly source_id: string; readonly order: number; readonly parent_id?: string };
type Story = { readonly ids: Identities; readonly story_id: string };

function drafted(placed: Placed, story: Story): Draft[] {
  const { source_type, source_id, title, text, metadata, order, parent_id } = placed;
  const place = { ...(parent_id !== undefined && { parent_id }), story_id: story.story_id, order };
  const draft = { source_type, source_id, title, text, metadata: { ...place, ...metadata } };
  return [draft, ...placeChildren(placed, story.ids).flatMap((child) => drafted(child, story))];
}

function placeChildren({ source_id: parent_id, children }: Placed, ids: Identities): readonly Placed[] {
  const before = ids.childrenOf(parent_id);
  const continued = alignSiblings(before, children);
  return children.map((child, at) => {
    const source_id = before[continued[at] ?? -1]?.source_id ?? ids.mint(parent_id, child.digest);
    return { ...child, source_id, parent_id, order: at + 1 };
  });
}

function identities(known: readonly Known[]): Identities {
  const byParent = Map.groupBy(known, ({ parent_id }) => parent_id);
  const childrenOf: Identities["childrenOf"] = (parent_id) =>
    (byParent.get(parent_id) ?? [])
      .toSorted((a, b) => (a.order ?? 0) - (b.order ?? 0))
      .map(({ source_id, digest }) => {
        const parts = childrenOf(source_id).flatMap((child) => [child.digest, ...child.parts]);
        return { source_id, digest: digest ?? "", parts };
      });
  return { childrenOf, mint: minter(new Set(known.map(({ source_id }) => source_id))) };
}

/** The same text under the same parent gets the same ids, one for each time that it stands there. */
function minter(taken: ReadonlySet<string>): Identities["mint"] {
  const occurrences = new Map<string, number>();
  return function mint(parent_id, digest): string {
    const key = `${parent_id}/${digest}`;
    const occurrence = (occurrences.get(key) ?? 0) + 1;
    occurrences.set(key, occurrence);
    const id = v5(`${digest}/${occurrence}`, parent_id);
    return taken.has(id) ? mint(parent_id, digest) : id;
  };
}
