import { isBlank, type Span } from "../span.ts";
import { fullTitle, type Heading, type Rank } from "./heading.ts";

/** A chapter: `bodies` are its stretches of text without the headings above it, `sections` the headings inside. */
export type Outlined = Span & {
  readonly title: string;
  /** The titles of the part, book or volume that it belongs to. */
  readonly part?: string;
  readonly bodies: readonly Span[];
  readonly sections: readonly Heading[];
};

/** Up to this length, what stands between a part's heading and its first chapter is a motto: it opens the chapter. */
const longestMotto = 1_000;

/** The chapters that `headings` make of the text. */
export function outline(text: string, headings: readonly Heading[]): readonly Outlined[] {
  const counted = withRoles(inOrder(continued(headings)));
  const divisions = counted.filter(({ rank }) => rank !== "section");
  const sections = counted.filter(({ rank }) => rank === "section");
  const chapters: Outlined[] = [];
  let parts: readonly Heading[] = [];
  let above: Above = { bodies: [] };
  divisions.forEach((heading, at) => {
    const next = divisions[at + 1];
    const body = { start: heading.end, end: next?.start ?? text.length };
    const start = above.start ?? heading.start;
    const bodies = [...above.bodies, body];
    if (isPart(text, heading, body)) parts = nested(parts, heading);
    if (isPart(text, heading, body) && next && isMotto(text, body)) {
      above = { start, bodies };
      return;
    }
    above = { bodies: [] };
    chapters.push({ start, end: body.end, bodies, sections: [], ...titles(heading, parts) });
  });
  return withSections(chapters, sections);
}

/** What waits for the next chapter: where the headings of its part begin, and the mottoes below them. */
type Above = { readonly start?: number; readonly bodies: readonly Span[] };

/** An epilogue without a word of its own holds the chapters after it. */
function isPart(text: string, { rank }: Heading, body: Span): boolean {
  return rank === "part" || (rank === "aside" && isBlank(text, body));
}

function isMotto(text: string, { start, end }: Span): boolean {
  return end - start <= longestMotto || isBlank(text, { start, end });
}

/** A part closes the parts of its own kind, and those inside them. */
function nested(parts: readonly Heading[], part: Heading): readonly Heading[] {
  const same = part.rank === "aside" ? 0 : parts.findIndex(({ noun }) => noun === part.noun);
  return [...(same < 0 ? parts : parts.slice(0, same)), part];
}

function titles(heading: Heading, parts: readonly Heading[]): { title: string; part?: string } {
  const part = parts
    .filter((above) => above !== heading)
    .map(fullTitle)
    .join(" · ");
  return { title: fullTitle(heading), ...(part !== "" && { part }) };
}

function withSections(chapters: readonly Outlined[], sections: readonly Heading[]): readonly Outlined[] {
  let at = 0;
  return chapters.map((chapter) => {
    const inside: Heading[] = [];
    for (let next = sections[at]; next && next.start < chapter.end; next = sections[++at]) {
      if (next.start >= chapter.start) inside.push(next);
    }
    return { ...chapter, sections: inside };
  });
}

/** A heading may be missing or misprinted without the later ones being lost. */
const mostMissing = 3;

/** A number alone on its line may be anything; it counts where it goes on counting, or begins anew. */
function inOrder(headings: readonly Heading[]): readonly Heading[] {
  let last = 0;
  return headings.filter(({ rank, noun, number = 0 }) => {
    if (rank !== "section" || noun !== "") return true;
    const counts = number === 1 || (number > last && number <= last + mostMissing);
    if (counts) last = number;
    return counts;
  });
}

/** `VII. The Blue Carbuncle` is a chapter after `Adventure VI. The Twisted Lip`. */
function continued(headings: readonly Heading[]): readonly Heading[] {
  let last: Heading | undefined;
  return headings.map((heading) => {
    const goesOn =
      heading.rank === "section" && last?.title && heading.title && heading.number === (last.number ?? 0) + 1;
    const promoted: Heading = goesOn ? { ...heading, rank: "chapter" } : heading;
    if (promoted.rank === "chapter") last = promoted;
    return promoted;
  });
}

/** Where nothing is called a chapter, at least two sections are the chapters, else the parts. */
function withRoles(headings: readonly Heading[]): readonly Heading[] {
  const has = (rank: Rank, least = 1) => headings.filter((heading) => heading.rank === rank).length >= least;
  if (has("chapter")) return headings;
  if (has("section", 2)) return headings.map((heading) => as("chapter", heading, heading.rank === "section"));
  const noun = mostFrequent(headings.filter(({ rank }) => rank === "part").map((part) => part.noun));
  return headings
    .filter(({ rank }) => rank !== "section")
    .map((heading) => as("chapter", heading, heading.rank === "part" && heading.noun === noun));
}

function as(rank: Rank, heading: Heading, when: boolean): Heading {
  return when ? { ...heading, rank } : heading;
}

function mostFrequent(words: readonly string[]): string | undefined {
  const times = (word: string) => words.filter((other) => other === word).length;
  return [...new Set(words)].toSorted((a, b) => times(b) - times(a))[0];
}
