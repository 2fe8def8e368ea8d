import { readFile, stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import { decodeText, storable } from "./content/decode.ts";
import type { Pool } from "./db.ts";
import { LoregraphError, messageOf } from "./errors.ts";
import { acceptEntities, removeEntities } from "./intake.ts";
import type { Registry } from "./registry.ts";
import type { Draft, Rejected } from "./sources/draft.ts";
import { jsonLineDrafts } from "./sources/jsonlines.ts";
import { novelDrafts } from "./sources/novel.ts";
import { type Change, entitiesOfSource, type Known } from "./store/entities.ts";

export type ImportOptions = {
  readonly tenant_id: string;
  readonly path: string;
  /** The longest text of one entity, in UTF-16 code units. */
  readonly maxTextChars: number;
  /** Told of each page of entities that is committed. */
  readonly onProgress?: (done: number, total: number) => void;
};

/** What an import did. `rejected` names the lines that did not go in; all the others did. */
export type ImportReport = {
  readonly file: string;
  readonly encoding: string;
  readonly notes: readonly string[];
  readonly counts: Readonly<Record<Change | "deleted", number>>;
  readonly types: Readonly<Record<string, number>>;
  readonly rejected: readonly Rejected[];
};

/** How many entities are one transaction. */
const pageSize = 200;

/**
 * Takes in a novel (plain text or Markdown) or a file of JSON Lines. Importing the same file again changes only what
 * changed and deletes what is gone; where lines were rejected nothing is deleted, since they may be what is missing.
 * It may be killed at any point: importing again completes it.
 */
export async function importFile(
  pool: Pool,
  registry: Registry,
  options: ImportOptions,
): Promise<ImportReport> {
  const { tenant_id, path, onProgress = () => {} } = options;
  const file = basename(path);
  const source = `file:${file}`;
  const { text, encoding, notes } = decodeFile(path, await readBytes(path));
  const known = await entitiesOfSource(pool, tenant_id, source);
  const { drafts, rejected, repairs } = await draftsOf(options, file, text, known);

  const counts = { created: 0, changed: 0, moved: 0, unchanged: 0, deleted: 0 };
  for (let at = 0; at < drafts.length; at += pageSize) {
    const page = drafts.slice(at, at + pageSize);
    const upserted = await acceptEntities(pool, registry, { tenant_id, source, entities: page });
    for (const { change } of upserted) counts[change]++;
    onProgress(Math.min(at + pageSize, drafts.length), drafts.length);
  }
  if (rejected.length === 0) counts.deleted = await removeGone(pool, registry, tenant_id, known, drafts);
  return { file, encoding, notes: [...notes, ...repairs], counts, types: countTypes(drafts), rejected };
}

function decodeFile(path: string, bytes: Uint8Array): ReturnType<typeof decodeText> {
  try {
    return decodeText(bytes);
  } catch (cause) {
    if (!(cause instanceof LoregraphError)) throw cause;
    throw new LoregraphError(cause.code, `${path}: ${cause.message}`, { cause });
  }
}

async function readBytes(path: string): Promise<Uint8Array> {
  try {
    if ((await stat(path)).isDirectory())
      throw new LoregraphError("FILE_UNREADABLE", `${path} is a folder: name its files`);
    return await readFile(path);
  } catch (cause) {
    if (cause instanceof LoregraphError) throw cause;
    throw new LoregraphError("FILE_UNREADABLE", `cannot read ${path}: ${messageOf(cause)}`, { cause });
  }
}

type Drafts = {
  readonly drafts: readonly Draft[];
  readonly rejected: readonly Rejected[];
  /** What had to be taken out so that Postgres can store the rest. */
  readonly repairs: readonly string[];
};

async function draftsOf(
  { tenant_id, maxTextChars }: ImportOptions,
  file: string,
  text: string,
  known: readonly Known[],
): Promise<Drafts> {
  if ([".jsonl", ".ndjson"].includes(extname(file).toLowerCase())) {
    const { drafts, rejected, notes } = await jsonLineDrafts(text.split("\n"), { maxTextChars });
    return { drafts, rejected, repairs: notes.map(({ line, reason }) => `line ${line}: ${reason}`) };
  }
  if (text.trim() === "") throw new LoregraphError("FILE_UNREADABLE", `${file} is empty`);
  const drafts = novelDrafts({ tenant_id, file, text, known: known.filter(isPlaced) });
  return { drafts, rejected: [], repairs: storable(text).notes };
}

function isPlaced(entity: Known): entity is Known & { order: number; digest: string } {
  return entity.order !== null && entity.digest !== null;
}

async function removeGone(
  pool: Pool,
  registry: Registry,
  tenant_id: string,
  known: readonly Known[],
  drafts: readonly Draft[],
): Promise<number> {
  const given = new Set(drafts.map(keyOf));
  const gone = known.filter((entity) => !given.has(keyOf(entity)));
  for (let at = 0; at < gone.length; at += pageSize) {
    await removeEntities(pool, registry, tenant_id, gone.slice(at, at + pageSize));
  }
  return gone.length;
}

function keyOf({ source_type, source_id }: Pick<Draft, "source_type" | "source_id">): string {
  return `${source_type} ${source_id}`;
}

function countTypes(drafts: readonly Draft[]): Readonly<Record<string, number>> {
  return Object.fromEntries(
    [...Map.groupBy(drafts, ({ source_type }) => source_type)].map(([type, of]) => [type, of.length]),
  );
}
