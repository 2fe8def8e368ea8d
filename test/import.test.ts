import { createHash, randomUUID } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { many } from "../src/db.ts";
import { type ImportReport, importFile } from "../src/import.ts";
import { loadRegistry, type Registry } from "../src/registry.ts";
import type { Context } from "../src/worker/context.ts";
import { fileInTest } from "./support/cli.ts";
import { type TestDatabase, testDatabase } from "./support/database.ts";
import { holdImport } from "./support/held.ts";
import { emptyLedger, runtime, startWorker } from "./support/runtime.ts";

let database: TestDatabase;
let registry: Registry;
let context: Context;

beforeAll(async () => {
  database = await testDatabase();
  registry = await loadRegistry();
  context = { ...runtime(database), registry };
});

const take = (path: string, tenant_id: string, maxTextChars = 100_000): Promise<ImportReport> =>
  importFile(database.pool, registry, { tenant_id, path, maxTextChars });

/** Runs what the imports caused. */
async function ingest(): Promise<void> {
  await using worker = startWorker(context, database);
  await worker.untilDone();
}

const Row = z.object({
  source_type: z.string(),
  source_id: z.string(),
  version: z.int(),
  title: z.string(),
  text: z.string(),
  metadata: z.record(z.string(), z.unknown()),
});
type Row = z.infer<typeof Row>;

async function entitiesOf(tenant_id: string): Promise<readonly Row[]> {
  return await many(
    database.pool,
    Row,
    `select source_type, source_id, version, title, text, metadata from entities
     where tenant_id = $1 order by metadata ->> 'start', source_type, source_id`,
    [tenant_id],
  );
}

async function count(table: string, tenant_id: string): Promise<number> {
  const { rows } = await database.pool.query(
    `select count(*)::int as count from ${table} where tenant_id = $1`,
    [tenant_id],
  );
  return rows[0].count;
}

const weather = [
  "rain",
  "wind",
  "frost",
  "fog",
  "hail",
  "sleet",
  "thaw",
  "drizzle",
  "thunder",
  "calm",
  "haze",
  "snow",
];

/** Paragraphs that are all different, of speech and telling. */
const paragraphs = (chapter: string, of = 12) =>
  Array.from({ length: of }, (_, at) =>
    `In the ${weather[at % 12]} of ${chapter} ${at} the keeper walked the wall and counted the lamps. `
      .repeat(6)
      .concat("“Is it you again?” said Mara, and she put down the oar. “It is,” said Tom."),
  );
const bookOf = (chapters: readonly (readonly string[])[]) =>
  `# The Weir\n\n${chapters.map((of, at) => `## Chapter ${at + 1}\n\n${of.join("\n\n")}`).join("\n\n")}\n`;
const book = [paragraphs("spring"), paragraphs("summer"), paragraphs("autumn")];

describe("a novel", () => {
  test.each([
    ["Markdown in English", "weir.md", bookOf(book), "en"],
    [
      "plain text in French",
      "barrage.txt",
      ["CHAPITRE PREMIER", "CHAPITRE II", "CHAPITRE III"]
        .map((heading, at) => `${heading}\n\n${french(at)}`)
        .join("\n\n\n"),
      "fr",
    ],
    [
      "plain text in Chinese",
      "水坝.txt",
      ["第一回 灯火", "第二回 夜雨", "第三回 归人"]
        .map((heading, at) => `${heading}\n\n${chinese(at)}`)
        .join("\n\n"),
      "zh",
    ],
  ])(
    "%s is story, chapters, scenes and blocks, in order and to the character",
    async (_, name, text, language) => {
      const tenant = randomUUID();
      const report = await take(await fileInTest(name, text), tenant);
      const entities = await entitiesOf(tenant);

      expect(report.types).toMatchObject({ story: 1, chapter: 3, scene: 3 });
      expect(report.counts).toEqual({
        created: entities.length,
        changed: 0,
        moved: 0,
        unchanged: 0,
        deleted: 0,
      });
      expect(ofType(entities, "story")[0]?.metadata).toMatchObject({ file: name, language });
      for (const { source_type, text: stored, metadata } of entities) {
        const slice = text.slice(Number(metadata.start), Number(metadata.end));
        expect(stored).toBe(source_type === "content_block" ? slice : "");
        expect(metadata.digest).toBe(createHash("sha256").update(slice).digest("hex"));
      }
      expectOrdered(entities);
      for (const { metadata } of ofType(entities, "content_block"))
        expect(metadata.content_kind).toMatch(/^(dialogue|narration|mixed)$/);
    },
  );

  test("imported again as it was changes nothing and causes nothing", async () => {
    const [tenant, path] = [randomUUID(), await fileInTest("weir.md", bookOf(book))];
    const first = await take(path, tenant);
    const before = [
      await entitiesOf(tenant),
      await count("events", tenant),
      await count("pipeline_runs", tenant),
    ];
    const again = await take(path, tenant);

    expect(again.counts).toEqual({
      created: 0,
      changed: 0,
      moved: 0,
      unchanged: first.counts.created,
      deleted: 0,
    });
    expect([
      await entitiesOf(tenant),
      await count("events", tenant),
      await count("pipeline_runs", tenant),
    ]).toEqual(before);
  });

  test("after an edit of one paragraph reads and embeds that paragraph's block only", async () => {
    const [tenant, path] = [randomUUID(), await fileInTest("weir.md", bookOf(book))];
    await take(path, tenant);
    await ingest();
    const before = await entitiesOf(tenant);
    const first = await usageOf(tenant);

    const edited = book.with(1, (book[1] ?? []).with(5, `${book[1]?.[5]} “Go home,” said Mara.`));
    await writeFile(path, bookOf(edited));
    const report = await take(path, tenant);
    await ingest();
    const after = await entitiesOf(tenant);
    const used = await usageOf(tenant);

    expect(after.map(idOf).toSorted()).toEqual(before.map(idOf).toSorted());
    const block = after.filter(({ text }) => text.includes("“Go home,” said Mara."));
    expect(block).toHaveLength(1);
    const changed = after.filter(
      ({ source_id, version }) => before.find((b) => idOf(b) === source_id)?.version !== version,
    );
    // Above the block, digests tell its scene, chapter and story that something below them is another.
    expect(changed.map(({ source_type }) => source_type).toSorted()).toEqual([
      "chapter",
      "content_block",
      "scene",
      "story",
    ]);
    expect(report.counts).toMatchObject({ created: 0, changed: 4, deleted: 0 });
    expect(report.counts.moved).toBeGreaterThan(0);
    expect(used.embedding_calls - first.embedding_calls).toBe(1);
    const chunks = await countOf("chunks", tenant, block);
    expect(chunks).toBeGreaterThan(3);
    expect(used.vectors_reused - first.vectors_reused).toBe(chunks - 1);
  });
});

test("what is gone from a file is deleted, with all that was made of it and was still to do", async () => {
  const [tenant, path] = [randomUUID(), await fileInTest("weir.md", bookOf(book))];
  await take(path, tenant);
  await ingest();
  const before = await entitiesOf(tenant);
  await writeFile(path, bookOf(book.with(1, paragraphs("summer", 14))));
  await take(path, tenant);

  await writeFile(path, bookOf(book.toSpliced(1, 1)));
  const report = await take(path, tenant);
  const after = new Set((await entitiesOf(tenant)).map(idOf));
  const gone = before.filter(({ source_id }) => !after.has(source_id));

  expect(gone.map(({ text }) => text).join()).toContain("summer");
  expect(report.counts.deleted).toBe(gone.length);
  const { rows } = await database.pool.query(
    "select source_id from events where tenant_id = $1 and event = 'entity.deleted'",
    [tenant],
  );
  expect(rows.map(({ source_id }) => source_id).toSorted()).toEqual(gone.map(idOf).toSorted());
  for (const table of ["documents", "chunks", "chunk_fts", "enrichments"])
    expect(await countOf(table, tenant, gone), table).toBe(0);
  expect(await openRunsOf(tenant, before)).toBeGreaterThan(0);
  expect(await openRunsOf(tenant, gone)).toBe(0);
});

async function countOf(table: string, tenant_id: string, entities: readonly Row[]): Promise<number> {
  const { rows } = await database.pool.query(
    `select count(*)::int as count from ${table} where tenant_id = $1 and source_id = any ($2::uuid[])`,
    [tenant_id, entities.map(idOf)],
  );
  return rows[0].count;
}

async function openRunsOf(tenant_id: string, gone: readonly Row[]): Promise<number> {
  const { rows } = await database.pool.query(
    `select count(*)::int as open from pipeline_runs
     where tenant_id = $1 and source_id = any ($2::uuid[]) and status in ('pending', 'running', 'waiting')`,
    [tenant_id, gone.map(idOf)],
  );
  return rows[0].open;
}

test("a file of another name is another source: it deletes nothing of the first", async () => {
  const tenant = randomUUID();
  await take(await fileInTest("weir.md", bookOf(book)), tenant);
  const report = await take(await fileInTest("dam.md", bookOf(book.slice(0, 1))), tenant);

  expect(report.counts.deleted).toBe(0);
  expect(ofType(await entitiesOf(tenant), "story")).toHaveLength(2);
});

/** Scenes that repeat each other, so that their ids depend on what stands before them; several pages of them. */
const refrain = (scenes: number, between = "") =>
  `# The Weir\n\n## Chapter 1\n\n${between}${Array.from({ length: scenes }, (_, at) => `The lamps of ${weather[at % 5]} were lit.`).join("\n\n* * *\n\n")}\n`;

describe("two imports of the same file at once", () => {
  test.each([
    ["that is new", undefined, refrain(150)],
    ["that was edited", refrain(150), refrain(150, "The gate was shut.\n\n* * *\n\n".repeat(60))],
  ])("%s end as one does", async (_, before, text) => {
    const [one, two, path] = [randomUUID(), randomUUID(), await fileInTest("weir.md", before ?? text)];
    if (before) for (const tenant of [one, two]) await take(path, tenant);
    await writeFile(path, text);
    await take(path, one);

    const held = await holdImport(database, two);
    const first = take(path, two);
    await held.waiting(1);
    const second = take(path, two);
    await held.waiting(2);
    await held.release();
    await Promise.all([first, second]);

    const entities = await entitiesOf(two);
    expectOrdered(entities);
    expect(entities.map(placeOf).toSorted()).toEqual((await entitiesOf(one)).map(placeOf).toSorted());
    expect((await take(path, two)).counts).toMatchObject({ created: 0, changed: 0, moved: 0, deleted: 0 });
  });
});

test("of two imports of a file that changes meanwhile, the later one's text stands, whole", async () => {
  const [one, two, path] = [randomUUID(), randomUUID(), await fileInTest("weir.md", refrain(300))];
  const held = await holdImport(database, two);
  const first = take(path, two);
  await held.waiting(1);
  await writeFile(path, refrain(120));
  const second = take(path, two);
  await held.waiting(2);
  await held.release();
  await Promise.all([first, second]);
  await take(path, one);

  expect((await entitiesOf(two)).map(placeOf).toSorted()).toEqual(
    (await entitiesOf(one)).map(placeOf).toSorted(),
  );
});

const placeOf = ({ source_type, text, metadata }: Row) =>
  [source_type, metadata.start, metadata.end, metadata.order, text].join(" ");

describe("a file that is not plain UTF-8", () => {
  const text = "# L’Écluse\n\n## Chapter 1\n\nLe café était fermé. “Déjà ?” dit-elle.\n\nIl pleuvait.\n";
  const western = text.replaceAll("’", "'").replaceAll(/[“”]/g, '"');

  test.each<[string, Uint8Array, string, string]>([
    ["with a byte order mark", Buffer.from(`\ufeff${text}`), "utf-8", text],
    ["of Windows lines", Buffer.from(text.replaceAll("\n", "\r\n")), "utf-8", text.replaceAll("\n", "\r\n")],
    ["in UTF-16 of little ends", Buffer.from(`\ufeff${text}`, "utf16le"), "utf-16le", text],
    ["in UTF-16 of big ends", Buffer.from(`\ufeff${text}`, "utf16le").swap16(), "utf-16be", text],
    ["in Latin-1", Buffer.from(western, "latin1"), "iso-8859-1", western],
    ["in Windows-1252", windows1252(text), "windows-1252", text],
  ])("%s is read as what it is", async (_, bytes, encoding, read) => {
    const tenant = randomUUID();
    const report = await take(await fileInTest("ecluse.md", bytes), tenant);
    const entities = await entitiesOf(tenant);

    expect(report.encoding).toBe(encoding);
    expect(entities.find(({ source_type }) => source_type === "story")?.title).toMatch(/^L[’']Écluse$/);
    for (const { text: stored, metadata } of ofType(entities, "content_block"))
      expect(stored).toBe(read.slice(Number(metadata.start), Number(metadata.end)));
  });

  test("loses a stray NUL and says so", async () => {
    const tenant = randomUUID();
    const report = await take(await fileInTest("nul.txt", "The rain\0 fell. Nobody slept.\n"), tenant);

    expect(report.notes).toEqual([expect.stringMatching(/removed 1 NUL/)]);
    expect(ofType(await entitiesOf(tenant), "content_block")[0]?.text).toBe("The rain fell. Nobody slept.");
  });
});

const noise = (length: number) => Uint8Array.from({ length }, (_, at) => (at * 7_919) % 251);
const cyrillic = Uint8Array.from("Шёл дождь, и никто не спал. ".repeat(9), (letter) =>
  letter < "а" ? letter.charCodeAt(0) % 128 : 0xe0 + ((letter.charCodeAt(0) - 0x430) % 32),
);

describe("refuses, having stored nothing,", () => {
  test.each<[string, string, string | Uint8Array, RegExp]>([
    ["an empty file", "weir.txt", "", /weir\.txt is empty/],
    ["a file of blank lines", "weir.md", " \n\n", /weir\.md is empty/],
    ["an empty file of lines", "weir.jsonl", "", /weir\.jsonl is empty/],
    ["a PDF", "weir.txt", "%PDF-1.7 It rained.", /looks like a PDF/],
    ["data named as text", "weir.txt", noise(4_000), /looks like binary data/],
    [
      "another alphabet's old encoding",
      "weir.txt",
      cyrillic,
      /encoding that cannot be told: save it as UTF-8/,
    ],
  ])("%s", async (_, name, content, reason) => {
    const tenant = randomUUID();
    const refused = { code: "FILE_UNREADABLE", message: expect.stringMatching(reason) };

    await expect(take(await fileInTest(name, content), tenant)).rejects.toMatchObject(refused);
    expect(await entitiesOf(tenant)).toEqual([]);
  });

  test("an empty file where there was a full one", async () => {
    const line = (id: string) => JSON.stringify({ type: "lore", id, title: "The Weir" });
    const [tenant, path] = [randomUUID(), await fileInTest("weir.jsonl", line(randomUUID()))];
    await take(path, tenant);
    await writeFile(path, "");

    await expect(take(path, tenant)).rejects.toThrow("weir.jsonl is empty");
    expect(await entitiesOf(tenant)).toHaveLength(1);
  });
});

function windows1252(text: string): Uint8Array {
  const codes = new Map([
    ["’", 0x92],
    ["“", 0x93],
    ["”", 0x94],
  ]);
  return Uint8Array.from(text, (letter) => codes.get(letter) ?? letter.charCodeAt(0));
}

function expectOrdered(entities: readonly Row[]): void {
  const byParent = Map.groupBy(entities, ({ metadata }) => metadata.parent_id);
  for (const children of byParent.values()) {
    const places = children.map(({ metadata }) => [Number(metadata.order), Number(metadata.start)] as const);
    const sorted = places.toSorted(([a], [b]) => a - b);
    expect(sorted.map(([order]) => order)).toEqual(sorted.map((_, at) => at + 1));
    expect(sorted.map(([, start]) => start)).toEqual(
      sorted.map(([, start]) => start).toSorted((a, b) => a - b),
    );
  }
}

const idOf = ({ source_id }: Row) => source_id;
const ofType = (entities: readonly Row[], type: string) =>
  entities.filter(({ source_type }) => source_type === type);

async function usageOf(tenant_id: string) {
  const Usage = z.object({ embedding_calls: z.int(), vectors_reused: z.int() });
  const [used] = await many(
    database.pool,
    Usage,
    `select sum(embedding_calls)::int as embedding_calls, sum(vectors_reused)::int as vectors_reused
     from pipeline_runs where tenant_id = $1`,
    [tenant_id],
  );
  return used ?? { embedding_calls: 0, vectors_reused: 0 };
}

function french(chapter: number): string {
  return Array.from(
    { length: 4 },
    (_, at) =>
      `Le soir du chapitre ${chapter}, au paragraphe ${at}, la gardienne fermait les écluses et comptait les lampes sur le quai.\n— Est-ce encore vous ? demanda Mara en posant la rame. — C'est moi, répondit-il.`,
  ).join("\n\n");
}

function chinese(chapter: number): string {
  return Array.from(
    { length: 4 },
    (_, at) =>
      `第${chapter}夜第${at}次，守坝人关上闸门，数了数岸上的灯。雨下了一整夜，没有人睡觉。“又是你吗？”她放下船桨说道。“是我。”他说。`,
  ).join("\n\n");
}

test("keeps two files of one name apart where they are given sources of their own", async () => {
  const tenant_id = randomUUID();
  const lore = () =>
    `${JSON.stringify({ source_type: "lore", source_id: randomUUID(), text: "Bells are older than ferries." })}\n`;
  const [first, second] = [await fileInTest("lore.jsonl", lore()), await fileInTest("lore.jsonl", lore())];
  const options = { tenant_id, maxTextChars: 100_000 };
  await importFile(database.pool, registry, { ...options, path: first, source: "first" });

  const report = await importFile(database.pool, registry, { ...options, path: second, source: "second" });
  expect(report).toMatchObject({ file: "second", counts: { created: 1, deleted: 0 } });
  expect(await count("entities", tenant_id)).toBe(2);
});

test("looks again at what has not changed where it is asked to, and does only what is missing", async () => {
  await emptyLedger(database);
  const tenant_id = randomUUID();
  const path = await fileInTest(
    "lore.jsonl",
    `${JSON.stringify({ source_type: "lore", source_id: randomUUID(), text: "Bells." })}\n`,
  );
  await take(path, tenant_id);
  await ingest();
  const runs = await count("pipeline_runs", tenant_id);
  await database.pool.query("delete from documents where tenant_id = $1", [tenant_id]);
  await take(path, tenant_id);
  expect(await count("pipeline_runs", tenant_id)).toBe(runs);

  const report = await importFile(database.pool, registry, {
    tenant_id,
    path,
    maxTextChars: 100,
    again: true,
  });
  await ingest();
  expect(report.counts).toMatchObject({ unchanged: 1, changed: 0 });
  expect(await count("documents", tenant_id)).toBe(1);
});

test("refuses to take in what no pipeline would ingest", async () => {
  const enrichers = new Map([...registry].filter(([name]) => name !== "base"));
  const path = await fileInTest("novel.txt", "It rained.");
  const taking = importFile(database.pool, enrichers, { tenant_id: randomUUID(), path, maxTextChars: 100 });

  await expect(taking).rejects.toMatchObject({
    code: "REGISTRY_INVALID",
    message: expect.stringContaining("entity.changed"),
  });
});
