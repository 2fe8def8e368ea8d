/**
 * Every kind of space as U+0020 and every line end as LF, character for character: an offset into the result is an
 * offset into `text`. CR LF becomes space and LF, a CR alone LF.
 */
export function normalise(text: string): string {
  if (!unusual.test(text)) return text;
  return text
    .replaceAll("\r\n", " \n")
    .replace(/[\r\u0085\u2028\u2029]/g, "\n")
    .replace(/[\t\v\f\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff]/g, " ");
}

const unusual = /[\t\v\f\r\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff]/;
