/**
 * The same JSON value with what Postgres cannot store taken out of its strings and keys: NUL goes, and a lone
 * surrogate becomes U+FFFD. Models do answer such things.
 */
export function storableJson<Value>(value: Value): Value {
  return JSON.parse(JSON.stringify(value), (_, inner) => storable(inner));
}

function storable(inner: unknown): unknown {
  if (typeof inner === "string") return storableText(inner);
  if (typeof inner !== "object" || inner === null || Array.isArray(inner)) return inner;
  const entries = Object.entries(inner);
  return entries.every(([key]) => isStorable(key))
    ? inner
    : Object.fromEntries(entries.map(([key, value]) => [storableText(key), value]));
}

export function storableText(text: string): string {
  return isStorable(text) ? text : text.replaceAll("\0", "").toWellFormed();
}

function isStorable(text: string): boolean {
  return !text.includes("\0") && text.isWellFormed();
}
