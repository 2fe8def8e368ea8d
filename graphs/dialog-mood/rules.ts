import type { English, EnglishSentence } from "../../src/content/english.ts";
import { type Cue, type Felt, phraseCues, spokenCues, toldCues } from "./cues.ts";
import type { Turn } from "./exchanges.ts";
import type { Reading } from "./schema.ts";

/** What one sentence of speech signals. `start` is in the entity's text. */
type Signal = {
  readonly start: number;
  readonly text: string;
  readonly sentiment: number;
  readonly cues: readonly Cue[];
};

/** The rules are never surer than this: they count words, they do not understand. */
const mostConfidence = 0.7;
/** What is left when nothing was found: the rules may well have missed it. */
const neutralConfidence = 0.15;
/** Signs must weigh one faint word in an exchange of one line, and grow with the root of its lines, to make a mood. */
const leastDensity = 0.4;
/** An exclamation mark makes a sign stronger; alone it is no sign. */
const exclaimed = 1.3;
/** Weights of sentiment against cues in valence, and of the doubt that holds short texts near 0. */
const sentimentWeight = 0.8;
const doubt = 0.6;

const sign: Readonly<Record<Felt, 1 | -1>> = {
  joyful: 1,
  tender: 1,
  playful: 1,
  hopeful: 1,
  sorrowful: -1,
  hostile: -1,
  tense: -1,
  fearful: -1,
};

/**
 * Reads an exchange by its cues. Where there are none it says neutral, with little confidence and no quote: any line
 * would do as one, and none would show anything.
 */
export function readByRules(english: English, turns: readonly Turn[]): Reading {
  const signals = turns.flatMap((turn) => signalsOf(english, turn));
  const weights = weigh(signals);
  const [mood, weight] = heaviest(weights);
  const valence = valenceOf(signals, doubt * Math.sqrt(turns.length));
  const density = weight / Math.sqrt(turns.length);
  if (density < leastDensity) {
    return {
      mood: "neutral",
      valence: round(valence / 2),
      confidence: neutralConfidence,
      evidence: "",
      evidence_at: null,
    };
  }
  const confidence = confidenceIn(mood, shareOf(mood, weights), density, valence);
  return { mood, valence, confidence, ...evidenceOf(mood, signals) };
}

function signalsOf(english: English, { said, start, telling }: Turn): Signal[] {
  return english(said).map((sentence, i) => ({
    start: start + sentence.start,
    text: sentence.text,
    sentiment: sentence.sentiment,
    cues: [...cuesOf(sentence), ...(i === 0 ? toldCues(telling) : [])],
  }));
}

function cuesOf({ text, words }: EnglishSentence): Cue[] {
  const force = text.includes("!") ? exclaimed : 1;
  const named = words.filter(({ negated }) => !negated);
  const cues = [
    ...named.flatMap(({ normal, lemma, pos }) => spokenCues(normal, lemma, pos)),
    ...phraseCues(text),
  ];
  return cues.map(({ mood, weight }) => ({ mood, weight: weight * force }));
}

function weigh(signals: readonly Signal[]): ReadonlyMap<Felt, number> {
  const weights = new Map<Felt, number>();
  for (const { mood, weight } of signals.flatMap(({ cues }) => cues)) {
    weights.set(mood, (weights.get(mood) ?? 0) + weight);
  }
  return weights;
}

function heaviest(weights: ReadonlyMap<Felt, number>): readonly [Felt, number] {
  return [...weights].reduce<readonly [Felt, number]>(
    (most, one) => (one[1] > most[1] ? one : most),
    ["tense", 0],
  );
}

function valenceOf(signals: readonly Signal[], atLeast: number): number {
  let sum = 0;
  let size = atLeast;
  for (const { cues, sentiment } of signals) {
    for (const { mood, weight } of cues) {
      sum += sign[mood] * weight;
      size += weight;
    }
    sum += sentimentWeight * sentiment;
    size += sentimentWeight * Math.abs(sentiment);
  }
  return round(sum / size);
}

/** Grows with the mood's share of all signs and with their density; halves where the valence points the other way. */
function confidenceIn(mood: Felt, share: number, density: number, valence: number): number {
  const agrees = sign[mood] * valence >= 0 ? 1 : 0.5;
  return round(mostConfidence * share * (1 - Math.exp(-density)) * agrees);
}

function shareOf(mood: Felt, weights: ReadonlyMap<Felt, number>): number {
  const all = [...weights.values()].reduce((sum, one) => sum + one, 0);
  return (weights.get(mood) ?? 0) / all;
}

/** The sentence that signals the mood most, without its quotation marks and the comma before a tag. */
function evidenceOf(mood: Felt, signals: readonly Signal[]): Pick<Reading, "evidence" | "evidence_at"> {
  const weightOf = ({ cues }: Signal) =>
    cues.reduce((sum, cue) => (cue.mood === mood ? sum + cue.weight : sum), 0);
  const ordered = signals.toSorted((a, b) => weightOf(b) - weightOf(a));
  for (const { start, text } of ordered) {
    const evidence = text.replace(outerMarks, "");
    if (evidence === "") continue;
    const from = start + text.indexOf(evidence);
    return { evidence, evidence_at: { start: from, end: from + evidence.length } };
  }
  return { evidence: "", evidence_at: null };
}

const outerMarks = /^[\s"“”„«»‘'—–-]+|[\s"“”„«»’',—–-]+$/g;

function round(value: number): number {
  return Math.round(value * 100) / 100;
}
