import { readFile } from "node:fs/promises";
import { LoregraphError, messageOf } from "../../errors.ts";
import { type Inspection, inspectedText, inspectFile } from "../../inspect.ts";
import { exitCodes } from "../exit-codes.ts";
import { brief, print, table } from "../output.ts";
import { newCommand } from "../program.ts";

export const command = () =>
  newCommand(
    "inspect",
    "show what base ingestion would make of files; needs no database",
    "loregraph inspect novel.txt --json",
  )
    .argument("<files...>", "text files")
    .option("--all", "list every chapter, spoken line and chunk")
    .action(async (files, { json, all }) => {
      const unread: string[] = [];
      for (const file of files) if (!(await inspectOne(file, json, all ?? false))) unread.push(file);
      if (unread.length > 0)
        process.exitCode = unread.length < files.length ? exitCodes.inPart : exitCodes.wrongUse;
    });

/** One file that cannot be read does not keep the others from being shown. False where this is one. */
async function inspectOne(file: string, json: boolean | undefined, all: boolean): Promise<boolean> {
  try {
    const bytes = await readBytes(file);
    print(inspectFile(file, bytes), json, (inspection) => asText(inspection, inspectedText(bytes), all));
    return true;
  } catch (error) {
    if (!(error instanceof LoregraphError)) throw error;
    if (json) print({ file, error: { code: error.code, message: error.message } }, json, () => "");
    process.stderr.write(`error: ${file}: ${error.message}\n`);
    return false;
  }
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new LoregraphError("FILE_UNREADABLE", `cannot be read: ${messageOf(cause)}`, { cause });
  }
}

const few = 8;

function asText(inspection: Inspection, text: string, all: boolean): string {
  const { file, encoding, notes, characters, kind, language, title, author, chapters, dialogue, chunks } =
    inspection;
  const most = all ? Number.POSITIVE_INFINITY : few;
  const speakers = new Set(dialogue.flatMap(({ speaker }) => speaker ?? []));
  return [
    `${file}: ${title || "untitled"}${author ? ` by ${author}` : ""}`,
    `  ${characters} characters of ${encoding}, language ${language ?? "unknown"}, kind ${kind}`,
    ...notes.map((note) => `  note: ${note}`),
    section(`${chapters.length} chapters`, ["title", "from", "to", "scenes"], most, chapters, (c) => [
      brief(c.title, 48),
      c.start,
      c.end,
      c.scenes,
    ]),
    section(
      `${dialogue.length} spoken lines, ${speakers.size} speakers named`,
      ["from", "to", "speaker", "line"],
      most,
      dialogue,
      (d) => [d.start, d.end, brief(d.speaker ?? "", 16), brief(text.slice(d.start, d.end), 40)],
    ),
    section(`${chunks.length} chunks`, ["path", "from", "to", "tokens", "content"], most, chunks, (c) => [
      brief(c.path, 42),
      c.start,
      c.end,
      c.tokens,
      c.content_kind,
    ]),
  ].join("\n");
}

function section<Row>(
  title: string,
  head: readonly string[],
  most: number,
  rows: readonly Row[],
  cells: (row: Row) => readonly (string | number)[],
): string {
  if (rows.length === 0) return `\n${title}`;
  const more = rows.length > most ? `\n  … and ${rows.length - most} more; --all lists them` : "";
  return `\n${title}\n${table(head, rows.slice(0, most).map(cells)).replace(/^/gm, "  ")}${more}`;
}
