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
  /** What the file is known by within the tenant. Defaults to its name without folders. */
  readonly source?: string | undefined;
  /** Are pipelines to look again at what has not changed? Each then does what is stale or missing. Defaults to no. */
  readonly again?: boolean | undefined;
  /** The longest text of one entity, in UTF-16 code units. */
  readonly maxTextChars: number;
  /** Told of each page of entities that is committed. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Ends the import between two pages, with its reason. */
  readonly signal?: AbortSignal;
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

/** How much is one transaction: so many entities, or so many characters of text. */
const pageSize = 200;
const pageChars = 4_000_000;

/**
 * Takes in a novel (plain text or Markdown) or a file of JSON Lines. Importing the same file again changes only what
 * changed and deletes what is gone; where lines were rejected nothing is deleted, since they may be what is missing.
 * It may be killed at any point: importing again completes it. Two imports of one file take turns.
 */
export async function importFile(
  pool: Pool,
  registry: Registry,
  options: ImportOptions,
): Promise<ImportReport> {
  assertIngests(registry);
  const file = options.source ?? basename(options.path);
  const decoded = decodeFile(options.path, await readBytes(options.path));
  const given = { ...options, file, source: `file:${file}`, decoded };
  return await alone(pool, given, () => takeIn(pool, registry, given));
}

/** Content that nothing ingests would lie there unread, and nobody would be told. */
function assertIngests(registry: Registry): void {
  if ([...registry.values()].some(({ trigger }) => trigger.on === "entity.changed")) return;
  const known = [...registry.keys()].join(", ");
  throw new LoregraphError(
    "REGISTRY_INVALID",
    `langgraph.json names no pipeline that runs on entity.changed, such as base (it names ${known})`,
  );
}

type Given = ImportOptions & {
  readonly file: string;
  readonly source: string;
  readonly decoded: ReturnType<typeof decodeText>;
};

/**
 * Does `work` while no other import of this source goes on: each compares the file with what is stored, and deletes
 * what it does not find. The lock is a connection's own, so a killed import holds none.
 */
async function alone<Result>(
  pool: Pool,
  { tenant_id, source }: Given,
  work: () => Promise<Result>,
): Promise<Result> {
  const client = await pool.connect();
  try {
    await client.query("select pg_advisory_lock(hashtextextended($1, 0))", [`import ${tenant_id} ${source}`]);
    return await work();
  } finally {
    client.release(true);
  }
}

async function takeIn(pool: Pool, registry: Registry, given: Given): Promise<ImportReport> {
  const { tenant_id, file, source, decoded, again = false, signal, onProgress = () => {} } = given;
  const known = await entitiesOfSource(pool, tenant_id, source);
  const { drafts, rejected, repairs } = await draftsOf(given, known);

  const counts = { created: 0, changed: 0, moved: 0, unchanged: 0, deleted: 0 };
  let done = 0;
  for (const page of pagesOf(drafts)) {
    signal?.throwIfAborted();
    const upserted = await acceptEntities(pool, registry, { tenant_id, source, entities: page, again });
    for (const { change } of upserted) counts[change]++;
    done += page.length;
    onProgress(done, drafts.length);
  }
  if (rejected.length === 0) counts.deleted = await removeGone(pool, registry, tenant_id, known, drafts);
  const { encoding, notes } = decoded;
  return { file, encoding, notes: [...notes, ...repairs], counts, types: countTypes(drafts), rejected };
}

function* pagesOf(drafts: readonly Draft[]): Generator<readonly Draft[]> {
  let page: Draft[] = [];
  let chars = 0;
  for (const draft of drafts) {
    if (page.length === pageSize || (page.length > 0 && chars + draft.text.length > pageChars)) {
      yield page;
      page = [];
      chars = 0;
    }
    page.push(draft);
    chars += draft.text.length;
  }
  if (page.length > 0) yield page;
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
    const missing = cause instanceof Error && "code" in cause && cause.code === "ENOENT";
    const why = missing ? `there is no file ${path}` : `cannot read ${path}: ${messageOf(cause)}`;
    throw new LoregraphError("FILE_UNREADABLE", why, { cause });
  }
}

type Drafts = {
  readonly drafts: readonly Draft[];
  readonly rejected: readonly Rejected[];
  /** What had to be taken out so that Postgres can store the rest. */
  readonly repairs: readonly string[];
};

async function draftsOf(
  { tenant_id, maxTextChars, path, file, decoded: { text } }: Given,
  known: readonly Known[],
): Promise<Drafts> {
  if (text.trim() === "") throw new LoregraphError("FILE_UNREADABLE", `${path} is empty`);
  if ([".jsonl", ".ndjson"].includes(extname(path).toLowerCase())) {
    const { drafts, rejected, notes } = await jsonLineDrafts(text.split("\n"), { maxTextChars });
    return { drafts, rejected, repairs: notes.map(({ line, reason }) => `line ${line}: ${reason}`) };
  }
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
