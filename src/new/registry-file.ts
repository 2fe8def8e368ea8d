import { randomUUID } from "node:crypto";
import { renameSync, rmSync, writeFileSync } from "node:fs";
import { applyEdits, type FormattingOptions, modify } from "jsonc-parser";

/** A JSON text with one value set: all else stays as it stands, its indents and line ends too. */
export function withValue(text: string, path: readonly string[], value: unknown): string {
  return applyEdits(text, modify(text, [...path], value, { formattingOptions: formatOf(text) }));
}

function formatOf(text: string): FormattingOptions {
  const indent = /^([ \t]+)\S/m.exec(text)?.[1] ?? "  ";
  const eol = text.includes("\r\n") ? "\r\n" : "\n";
  return {
    insertSpaces: !indent.startsWith("\t"),
    tabSize: indent.startsWith("\t") ? 1 : indent.length,
    eol,
  };
}

/** Replaces a file, or makes it: whoever reads it finds the old text or the new one, never a part. */
export function writeWhole(file: string, text: string): void {
  const aside = `${file}.${randomUUID().slice(0, 8)}`;
  try {
    writeFileSync(aside, text);
    renameSync(aside, file);
  } finally {
    rmSync(aside, { force: true });
  }
}
