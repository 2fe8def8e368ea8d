import { createHash } from "node:crypto";

/** SHA-256 of a text's UTF-8 bytes, in hexadecimal. */
export function sha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/** A value as JSON with its fields in the order of their names, at every depth: the same text for values that are the same. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value ?? null, inOrderOfNames);
}

function inOrderOfNames(_: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)));
}
