import { z } from "zod";
import type { Span } from "../../src/content/span.ts";
import type { Entity, Passage } from "../../src/pipeline.ts";

/** Titles that a family name follows: "Captain Hale" says nothing about which Hale. */
const formalTitles = new Set(
  "mr mrs ms miss mx dr doctor prof professor captain capt colonel major general lieutenant sergeant inspector judge lord mister master mistress".split(
    " ",
  ),
);
/** Titles that a given name follows: "Aunt Polly" is Polly. */
const familiarTitles = new Set(
  "aunt uncle grandmother grandfather granny sister brother mother father king queen prince princess emperor empress duke duchess earl count countess baron baroness sir lady dame saint old young".split(
    " ",
  ),
);

const Aliases = z.array(z.string()).catch([]);

/**
 * The names to look a character up by: its title and aliases, and what people make of the title: "Dr. Mara Voss" is
 * also "Mara Voss", "Dr. Voss" and "Mara". The family name alone is left out, since relatives share it; an author who
 * wants it says so among the aliases.
 */
export function namesOf({ title, metadata }: Pick<Entity, "title" | "metadata">): readonly string[] {
  const names = [title, ...shorterNames(title), ...Aliases.parse(metadata.aliases)];
  return [...new Set(names.map((name) => name.trim()).filter((name) => name.length > 1))];
}

function shorterNames(title: string): readonly string[] {
  const parts = (title.split(/[,(:;–—]/)[0] ?? "").trim().split(/\s+/);
  const [first = "", ...rest] = parts;
  const last = rest.at(-1) ?? "";
  if (/^(the|an?)$/i.test(first)) return [];
  if (formalTitles.has(bare(first))) {
    return rest.length > 1 ? [rest.join(" "), `${first} ${last}`, ...givenName(rest)] : [];
  }
  if (familiarTitles.has(bare(first))) return [rest.join(" "), ...givenName(rest)];
  return [parts.join(" "), ...givenName(parts)];
}

function givenName([first = "", ...rest]: readonly string[]): readonly string[] {
  return rest.length > 0 && /^\p{Lu}\p{L}+$/u.test(first) ? [first] : [];
}

/** Where the character is named in `text`. "Mara" of "Mara Quinn" is not "Mara Voss", nor is "Will" a "will". */
export function findMentions(text: string, names: readonly string[]): readonly Span[] {
  if (names.length === 0) return [];
  const own = new Set(names.flatMap((name) => name.split(/\s+/)).map(bare));
  return Array.from(text.matchAll(anyOf(names)), ({ 0: { length }, index }) => ({
    start: index,
    end: index + length,
  })).filter((span) => !belongsToAnother(text, span, own));
}

/** The passages that name the character in the sense of `findMentions`. */
export function mentioning(passages: readonly Passage[], names: readonly string[]): readonly Passage[] {
  return passages.filter(({ text }) => findMentions(text, names).length > 0);
}

/** The longest name first, so that "Mara" does not take the place of "Mara Voss". */
function anyOf(names: readonly string[]): RegExp {
  const longestFirst = names.toSorted((a, b) => b.length - a.length).flatMap(asWritten);
  return new RegExp(`(?<![\\p{L}\\p{N}])(?:${longestFirst.join("|")})(?![\\p{L}\\p{N}])`, "gu");
}

/** A name in its own case, in capitals as in scripts, and "The Keeper" also as "the Keeper". */
function asWritten(name: string): readonly string[] {
  return [name, name.toUpperCase()].map((form) =>
    form
      .split(/\s+/)
      .map(RegExp.escape)
      .join("\\s+")
      .replace(/^\\x[57]4he(?=\\s)/, "[Tt]he"),
  );
}

/** One name alone is another's where a family name follows, or a title goes before, that is not the character's. */
function belongsToAnother(text: string, { start, end }: Span, own: ReadonlySet<string>): boolean {
  if (/\s/.test(text.slice(start, end))) return false;
  const following = /^ (\p{Lu}\p{Ll}+)/u.exec(text.slice(end, end + 40))?.[1];
  const title = bare(/(\p{L}+\.?) $/u.exec(text.slice(Math.max(0, start - 20), start))?.[1] ?? "");
  return (
    (following !== undefined && !own.has(bare(following))) ||
    (formalTitles.has(title) && !own.has(title) && [...own].some((word) => formalTitles.has(word)))
  );
}

const bare = (word: string) => word.toLowerCase().replace(/\.$/, "");
