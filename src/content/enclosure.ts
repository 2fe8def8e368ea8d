/** Lines of a story between `<tag>` and `</tag>`: material for a model to judge, which no line of it can step out of. */
export function enclosed(tag: string, lines: readonly string[]): string {
  const own = new RegExp(String.raw`<(?=\s*\/?\s*${tag}\b)`, "gi");
  return [`<${tag}>`, ...lines.map((line) => line.replace(own, "< ")), `</${tag}>`].join("\n");
}

/** A text that may hold line ends as one line, so that it cannot pass for the next one of a list. */
export function oneLine(text: string): string {
  return text.replace(/\s+/g, " ").trim();
}
