import type { Sentence, Token } from "./cast.ts";
import { type Entry, traitWord } from "./lexicon.ts";

/** A trait word of a list, and the place of the word. */
type Listed = { readonly entry: Entry; readonly last: number };

/** Where one of these stands, a statement is denied, and what follows it is not trusted. */
export const negators = new Set(
  "not n't never no nor neither none hardly scarcely barely without less least nobody nothing anything".split(
    " ",
  ),
);
/** What may stand between the words of a list. */
export const joining = new Set([",", "and", "but", "yet", "or", "both", "also", "though", "if"]);
const placing = new Set(["where", "when", "why", "how", "there", "here"]);
/** "Proud of", "curious about" and "careful not to" do something is no trait. */
const relating = new Set(["of", "about", "for", "not"]);

/** "She was determined" is about a moment; "a determined woman" and "determined Mara" are about the person. */
const passing = new Set(
  "determined resolute curious inquisitive suspicious melancholy gloomy devoted attentive impatient merry cheerful irritable".split(
    " ",
  ),
);

/**
 * The traits of a list such as "a proud, brave and rather vain woman", which begins at `k`. What stands before the name
 * or the bare noun of somebody else is left out: "was proud, and brave Tobin …", "was proud, kind people …".
 */
export function predicate(sentence: Sentence, k: number): readonly Listed[] {
  const kept: Listed[] = [];
  const open: Listed[] = [];
  let article = false;
  for (; k < sentence.length; k++) {
    const token = sentence[k];
    if (!token || negators.has(token.lower)) break;
    if (token.who) return kept;
    const entry = entryAt(sentence, k, article);
    if (entry) open.push({ entry, last: k });
    else if (joining.has(token.lower)) kept.push(...open.splice(0));
    else if (token.pos === "DET") article = true;
    else if (token.pos === "NOUN") return article ? [...kept, ...open] : kept;
    else if (token.pos !== "ADJ" && !(isAdverb(token) && open.length === 0)) break;
  }
  return [...kept, ...open];
}

function entryAt(sentence: Sentence, k: number, article: boolean): Entry | undefined {
  const token = sentence[k];
  if (!token || isAside(sentence, k) || (!article && passing.has(token.lower))) return undefined;
  return (
    traitWord("adjectives", token.lower) ??
    (article && token.pos === "NOUN" ? traitWord("people", token.lemma) : undefined)
  );
}

/** "Proud of it", "careful to knock": about one thing or one moment; "too proud to ask" is about the person. */
function isAside(sentence: Sentence, k: number): boolean {
  const next = sentence[k + 1]?.lower ?? "";
  if (relating.has(next)) return true;
  return next === "to" && sentence[k + 2]?.pos === "VERB" && sentence[k - 1]?.lower !== "too";
}

/** An adverb of degree or time, after which a list goes on: "always", "rather". */
export const isAdverb = (token: Token | undefined) =>
  token?.pos === "ADV" && !negators.has(token.lower) && !placing.has(token.lower);
