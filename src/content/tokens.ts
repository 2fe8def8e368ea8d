import { createRequire } from "node:module";

type Encoding = typeof import("gpt-tokenizer/encoding/o200k_base");

let encoding: Encoding | undefined;

/** Loaded by the first count, not on import: it costs 0.15 s and 77 MB that most commands never need. */
function loadEncoding(): Encoding {
  encoding ??= createRequire(import.meta.url)("gpt-tokenizer/encoding/o200k_base") as Encoding;
  return encoding;
}

/**
 * How many tokens of o200k_base `text` is. Exact, but for unbroken runs of over 400 letters, spaces or signs: byte
 * pair encoding is quadratic in those (64,000 ideographs took 15 s), so they are counted in slices.
 */
export function countTokens(text: string): number {
  return endless.test(text)
    ? slices(text).reduce((sum, slice) => sum + countExactly(slice), 0)
    : countExactly(text);
}

const endless = /[\p{L}\p{M}]{400}|\s{400}|[^\s\p{L}\p{N}]{400}/u;

/** A text may quote a model's special tokens; here they are text like any other. */
function countExactly(text: string): number {
  return loadEncoding().countTokens(text, { disallowedSpecial: new Set() });
}

function slices(text: string): readonly string[] {
  return text.match(/.{1,200}/gsu) ?? [];
}
