/**
 * The same JSON value with what Postgres cannot store taken out of its strings: NUL goes, and a lone surrogate
 * becomes U+FFFD. Models do answer such things.
 */
export function storableJson<Value>(value: Value): Value {
  return JSON.parse(
    JSON.stringify(value, (_, inner) => (typeof inner === "string" ? storableText(inner) : inner)),
  );
}

function storableText(text: string): string {
  return text.includes("\0") || !text.isWellFormed() ? text.replaceAll("\0", "").toWellFormed() : text;
}
