import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";

const place = /(?:^|[\s(])(?:file:\/\/)?((?:\/|[A-Za-z]:)[^\s():]+\.[cm]?[jt]s):(\d+)/m;
const missing = /^Cannot find (?:module|package) '([^']+)' imported from (\S+)/;

/** The file and line that an import failed at, where Node tells it or the file does. */
export function placeOf(cause: unknown): string | undefined {
  if (!(cause instanceof Error)) return undefined;
  const [, target, importer] = missing.exec(cause.message) ?? [];
  if (target && importer) return `${importer}:${lineOf(importer, basename(target))}`;
  const [, file, line] = place.exec(cause.stack ?? "") ?? [];
  return file && `${file}:${line}`;
}

/** The first line that names a module, from 1 on; the first of all where it cannot be told. */
function lineOf(file: string, module: string): number {
  if (!existsSync(file)) return 1;
  const lines = readFileSync(file, "utf8").split("\n");
  const nth = lines.findIndex((line) => line.includes(module));
  return nth < 0 ? 1 : nth + 1;
}
