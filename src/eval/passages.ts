import { readFile } from "node:fs/promises";
import { isAbsolute, join, relative } from "node:path";
import { z } from "zod";
import { decodeText } from "../content/decode.ts";
import { findGutenberg } from "../content/gutenberg.ts";
import { normalise } from "../content/normalise.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { sha256 } from "../hash.ts";

/**
 * Where a passage stands in a book that the examples name but do not hold. Offsets are UTF-16 code units into the
 * book's text as `bookText` gives it, end exclusive; `sha256` is of the passage in UTF-8.
 */
export const Locator = z
  .object({
    work: z.string().min(1),
    edition: z.string().min(1).optional(),
    file: z.string().min(1),
    start: z.int().nonnegative(),
    end: z.int().positive(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, "expected 64 hexadecimal digits in lower case"),
  })
  .refine(({ start, end }) => start < end, "expected start to be before end");
export type Locator = z.infer<typeof Locator>;

/** Finds the text of a passage. Throws INPUT_INVALID, naming the work, where it is not there or is another. */
export type FindPassage = (locator: Locator) => Promise<string>;

/** A book's text: decoded, normalised, without Project Gutenberg's header and licence, and white space at its ends kept. */
export function bookText(bytes: Uint8Array): string {
  const text = normalise(decodeText(bytes).text);
  const { start, end } = findGutenberg(text) ?? { start: 0, end: text.length };
  return text.slice(start, end);
}

/** Finds passages in the books of a folder; each book is read once. Without a folder, each passage is refused. */
export function passagesIn(folder: string | undefined): FindPassage {
  const books = new Map<string, Promise<string>>();
  return async (locator) => {
    if (folder === undefined)
      throw refused(locator, "is not in the examples: name the folder that holds its file by --texts");
    const path = within(folder, locator);
    const book = books.get(path) ?? readBook(path, locator);
    books.set(path, book);
    return passageOf(await book, locator);
  };
}

/** The file's path; one that leads out of the folder is refused, for examples come from anybody. */
function within(folder: string, locator: Locator): string {
  const path = join(folder, locator.file);
  const inside = relative(folder, path);
  if (isAbsolute(locator.file) || inside === "" || inside.startsWith(".."))
    throw refused(locator, "is outside of the folder of texts");
  return path;
}

async function readBook(path: string, locator: Locator): Promise<string> {
  try {
    return bookText(await readFile(path));
  } catch (cause) {
    throw refused(locator, `cannot be read: ${messageOf(cause)}`, cause);
  }
}

function passageOf(book: string, locator: Locator): string {
  const { start, end, sha256: expected } = locator;
  if (end > book.length)
    throw refused(
      locator,
      `ends at ${book.length}, before the passage's end at ${end}: is it another edition?`,
    );
  const text = book.slice(start, end);
  const got = sha256(text);
  if (got === expected) return text;
  throw refused(
    locator,
    `has another text from ${start} to ${end}: expected its SHA-256 to be ${expected}, got: ${got}. Is it another edition?`,
  );
}

function refused({ work, edition, file }: Locator, why: string, cause?: unknown): LoregraphError {
  const what = edition === undefined ? work : `${work}, ${edition}`;
  return new LoregraphError(
    "INPUT_INVALID",
    `${file} (${what}) ${why}`,
    cause === undefined ? {} : { cause },
  );
}
