import { isPerson, type Sentence, type Token } from "./cast.ts";
import { type Entry, traitWord } from "./lexicon.ts";
import { isAdverb, joining, negators, predicate } from "./predicate.ts";

/** A trait word that a sentence says of somebody, and how sure its grammar makes us. `first` and `last` are words. */
type Said = {
  readonly entry: Entry;
  readonly confidence: number;
  readonly first: number;
  readonly last: number;
};

/** How sure each form is: what an author or narrator states outright over what a character says or it seems. */
const sure = {
  stated: 0.85,
  seeming: 0.6,
  apposed: 0.8,
  attributed: 0.75,
  addressed: 0.6,
} as const;

/** What states what somebody is. "Looked", "felt" and "became" tell of a moment. */
const copulas = new Set(["be", "remain", "prove", "seem", "appear"]);
const seeming = new Set(["seem", "appear"]);
const perfect = new Set(["has", "have", "had", "can"]);

/** Before the subject, these make the statement a thought, a wish or a lie. */
const unreal = new Set(
  "if whether unless lest wish wishes wished doubt doubted deny denied pretend pretended perhaps maybe nobody suppose supposing than believe believes believed think thinks thought imagine imagined fancied".split(
    " ",
  ),
);

/** Everything that a sentence says of the character whose names and pronouns stand at `subjects`. */
export function traitsSaid(sentence: Sentence, subjects: readonly number[]): readonly Said[] {
  if (sentence.some(({ text }) => text === "?")) return [];
  return [
    ...subjects.flatMap((at) => stated(sentence, at)),
    ...subjects
      .filter((at) => sentence[at]?.who === "self")
      .flatMap((at) => [
        ...apposed(sentence, at),
        ...leading(sentence, at),
        ...attributed(sentence, at),
        ...addressed(sentence, at),
      ]),
  ];
}

/** "Mara was stubborn", "Mara, who had always been proud", "Mara's brave". */
function stated(sentence: Sentence, at: number): readonly Said[] {
  if (isUnreal(sentence, at) || isObject(sentence, at)) return [];
  const verb = verbAfter(sentence, at);
  if (verb === undefined) return [];
  const confidence = seeming.has(sentence[verb]?.lemma ?? "") ? sure.seeming : sure.stated;
  return predicate(sentence, verb + 1).map((said) => ({ ...said, first: at, confidence }));
}

function isUnreal(sentence: Sentence, at: number): boolean {
  const before = sentence.slice(0, at);
  return (
    before.some(({ lower, pos }) => pos !== "NOUN" && unreal.has(lower)) ||
    before.slice(-3).some(({ lower }) => negators.has(lower))
  );
}

/** In "the prejudice against Mara was violent" or "a word to my dear Mara was kind", it is not Mara who was. */
function isObject(sentence: Sentence, at: number): boolean {
  let k = at - 1;
  while (["ADJ", "DET", "PRON"].includes(sentence[k]?.pos ?? "")) k -= 1;
  return sentence[k]?.pos === "ADP";
}

function verbAfter(sentence: Sentence, at: number): number | undefined {
  let k = at + 1;
  if (sentence[k]?.text === "," && sentence[k + 1]?.lower === "who") k += 2;
  while (isAdverb(sentence[k]) || perfect.has(sentence[k]?.lower ?? "")) k += 1;
  const verb = sentence[k];
  if (!verb || negators.has(verb.lower) || verb.lower === "being") return undefined;
  if (copulas.has(verb.lemma)) return k;
  return verb.lower === "'s" && !ownsNext(sentence, k) ? k : undefined;
}

/** After a name, "'s" is "is" only where an adjective stands alone: "Mara's brave", not "Mara's brave brother". */
function ownsNext(sentence: Sentence, k: number): boolean {
  const next = sentence[k + 1];
  return !next || !traitWord("adjectives", next.lower) || !isBreak(sentence[k + 2]);
}

const isBreak = (token: Token | undefined) => !token || token.pos === "PUNCT" || token.pos === "CCONJ";
/** "Mara, proud and quick, turned", "Mara, a proud woman, turned", but not "Mara, a proud smile on her lips, turned". */
function apposed(sentence: Sentence, at: number): readonly Said[] {
  const [mark, next] = [sentence[at + 1]?.text ?? "", sentence[at + 2]?.lower ?? ""];
  if (!/^[,—–(-]$/.test(mark) || next === "the" || joining.has(next)) return [];
  const traits = predicate(sentence, at + 2);
  const after = sentence[(traits.at(-1)?.last ?? at) + 1];
  return isBreak(after) || after?.lower === "as" || isPerson(after)
    ? traits.map((said) => ({ ...said, first: at, confidence: sure.apposed }))
    : [];
}

/** "Proud and quick, Mara turned." */
function leading(sentence: Sentence, at: number): readonly Said[] {
  if (sentence[at - 1]?.text !== ",") return [];
  const begin = sentence.findIndex(({ pos }) => pos !== "PUNCT");
  const list = sentence.slice(begin, at - 1);
  if (!list.every((token) => isDescriptive(token) && !negators.has(token.lower))) return [];
  return adjectivesIn(sentence, begin, at - 1).map((said) => ({ ...said, last: at }));
}

const isDescriptive = (token: Token) =>
  !token.who && (token.pos === "ADJ" || token.pos === "ADV" || joining.has(token.lower) || isTrait(token));
const isTrait = ({ lower }: Token) => traitWord("adjectives", lower) !== undefined;

/** "Brave Mara", "the stubborn old Mara". */
function attributed(sentence: Sentence, at: number): readonly Said[] {
  let begin = at;
  while (isAttribute(sentence[begin - 1], begin === at)) begin -= 1;
  const before = sentence[begin - 1]?.lower ?? "";
  if (negators.has(before) || before === "in") return []; // "in vain Mara called" is no vanity
  return adjectivesIn(sentence, begin, at).map((said) => ({
    ...said,
    last: at,
    confidence: sure.attributed,
  }));
}

function isAttribute(token: Token | undefined, next: boolean): boolean {
  if (!token || token.who) return false;
  return isTrait(token) || token.pos === "ADJ" || (!next && /^(?:,|and|but)$/.test(token.lower));
}

function adjectivesIn(sentence: Sentence, begin: number, end: number): readonly Said[] {
  return sentence.slice(begin, end).flatMap((token, k) => {
    const entry = traitWord("adjectives", token.lower);
    const title = begin + k > 1 && /^\p{Lu}/u.test(token.text); // as in "the Right Honourable Lady"
    return entry && !title ? [{ entry, confidence: sure.apposed, first: begin + k, last: begin + k }] : [];
  });
}

/** "You are reckless, Pip", "Pip, you're a fool": what somebody calls the character to the face. */
function addressed(sentence: Sentence, at: number): readonly Said[] {
  const called = isBreak(sentence[at - 1]) && isBreak(sentence[at + 1]);
  if (!called || sentence.filter(({ who }) => who).length !== 1) return [];
  return sentence.flatMap((token, k) => {
    const verb = sentence[k + 1];
    if (token.lower !== "you" || !/^(?:are|'re)$/.test(verb?.lower ?? "") || isUnreal(sentence, k)) return [];
    return predicate(sentence, k + 2).map((said) => ({ ...said, first: k, confidence: sure.addressed }));
  });
}
