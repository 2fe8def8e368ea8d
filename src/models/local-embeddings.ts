/** The embedding model that needs no key and no network; its vectors have 256 dimensions. */
export const localModel = "local-subword-256";
export const localDimensions = 256;

type Vector = readonly number[];

/** What one word adds to a vector: a signed weight in each of its dimensions. */
type Features = { readonly dimensions: Uint8Array; readonly weights: Float64Array };

/** Scripts written without spaces between words; there, pairs of neighbouring characters serve as words. */
const unspaced = String.raw`\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Thai}\p{sc=Lao}\p{sc=Khmer}\p{sc=Myanmar}`;
const unspacedRuns = new RegExp(`[${unspaced}]+`, "gv");
/** What is longer is no word (a base64 blob), and is taken in pieces. */
const longestWord = 64;
const spacedWords = new RegExp(String.raw`[[\p{L}\p{M}\p{N}]--[${unspaced}]]{1,${longestWord}}`, "gv");

/** Words that say nothing about a text's subject. Other languages' are damped by their shortness alone. */
const stopWords = new Set(
  `about above after again against all also am an and any are as at be because been before being below between both
  but by can could did do does doing don down during each few for from further had has have having he her here hers
  herself him himself his how if in into is it its itself just ll me more most must my myself no nor not now of off on
  once only or other our ours out over own re said same she should so some such than that the their theirs them
  themselves then there these they this those through to too under until up upon ve very was we were what when where
  which while who whom whose why will with would you your yours yourself`.split(/\s+/),
);

/** A word's own weight beside the joint weight of its character sequences; measured on questions about stories. */
const gramWeight = 1.5;
const gramLengths = [3, 4, 5] as const;
const stopWeight = 0.05;
const mostRemembered = 20_000;

/**
 * An embedding by hashing: words and their character sequences of 3 to 5 each add a signed weight to one of 256
 * dimensions, so that texts with the same words, or forms of the same words, are near. It knows no synonyms.
 * The same text gives the same vector on every machine. Vectors have length 1 and hold 32-bit floats.
 */
export function localEmbedding(): (text: string) => Vector {
  const remembered = new Map<string, Features>();
  return (text) => {
    const sum = new Float64Array(localDimensions);
    for (const [word, times] of wordCounts(text)) {
      add(sum, recall(remembered, word), 1 + Math.log(times));
    }
    // Weights of opposite sign can cancel out, and an empty text has none.
    if (sum.every((value) => value === 0)) sum[hash(text) % localDimensions] = 1;
    return unit(sum);
  };
}

function wordCounts(text: string): ReadonlyMap<string, number> {
  const plain = text.normalize("NFKC").toLowerCase();
  const words = [...(plain.match(spacedWords) ?? []), ...(plain.match(unspacedRuns) ?? []).flatMap(pairs)];
  const counts = new Map<string, number>();
  // A text of signs alone stands for itself.
  const signs = plain.trim().slice(0, longestWord);
  for (const word of words.length > 0 ? words : [signs]) counts.set(word, (counts.get(word) ?? 0) + 1);
  return counts;
}

function pairs(run: string): readonly string[] {
  const characters = [...run];
  if (characters.length === 1) return characters;
  return characters.slice(1).map((character, at) => `${characters[at]}${character}`);
}

function recall(remembered: Map<string, Features>, word: string): Features {
  const found = remembered.get(word);
  if (found !== undefined) return found;
  if (remembered.size >= mostRemembered) remembered.clear();
  const features = featuresOf(word);
  remembered.set(word, features);
  return features;
}

function featuresOf(word: string): Features {
  const parts = partsOf(word);
  const each = gramWeight / Math.sqrt(parts.length || 1);
  const length = parts.length > 0 ? Math.hypot(1, gramWeight) : 1;
  const scale = importance(word) / length;
  const weighted = [
    { part: `<${word}>`, weight: scale },
    ...parts.map((part) => ({ part, weight: each * scale })),
  ];
  const hashes = weighted.map(({ part }) => hash(part));
  return {
    dimensions: Uint8Array.from(hashes, (hashed) => hashed % localDimensions),
    weights: Float64Array.from(weighted, ({ weight }, at) =>
      (hashes[at] ?? 0) >>> 31 === 1 ? -weight : weight,
    ),
  };
}

/** The pieces that other words may share: of a pair its characters, of a word its sequences, ends marked. */
function partsOf(word: string): readonly string[] {
  if (word.search(unspacedRuns) === 0) return [...word];
  const marked = `<${word}>`;
  return gramLengths
    .filter((length) => length < marked.length)
    .flatMap((length) =>
      Array.from({ length: marked.length - length + 1 }, (_, at) => marked.slice(at, at + length)),
    );
}

/** Short words are common ones in most languages, and common words tell little. */
function importance(word: string): number {
  if (stopWords.has(word) || word.length === 1) return stopWeight;
  return Math.sqrt(Math.min(1, word.length / 6));
}

/** FNV-1a over UTF-16 units, then murmur's finish, whose high and low bits are independent. */
function hash(text: string): number {
  let mixed = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) mixed = Math.imul(mixed ^ text.charCodeAt(at), 0x01000193);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}

function add(sum: Float64Array, { dimensions, weights }: Features, times: number): void {
  for (let at = 0; at < dimensions.length; at++) {
    const dimension = dimensions[at] ?? 0;
    sum[dimension] = (sum[dimension] ?? 0) + times * (weights[at] ?? 0);
  }
}

function unit(sum: Float64Array): Vector {
  const length = Math.hypot(...sum);
  return Array.from(sum, (value) => Math.fround(value / length));
}
