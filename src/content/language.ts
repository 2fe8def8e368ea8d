import { detect } from "tinyld/light";

/** Below this many letters, a guess is a coin toss. */
const fewestLetters = 40;
const samples = 5;
const sampleLength = 600;

/** The language as ISO 639-1, or null where the text has under 40 letters or resembles no known language. */
export function detectLanguage(text: string): string | null {
  if (text.length > samples * sampleLength * 2) return vote(samplesOf(text));
  const letters = text.match(/\p{L}/gu)?.length ?? 0;
  return letters < fewestLetters ? null : detect(text) || null;
}

/** Samples from start to end vote, so that a foreign motto or a licence does not decide. */
function samplesOf(text: string): readonly string[] {
  const step = (text.length - sampleLength) / (samples - 1);
  return Array.from({ length: samples }, (_, at) => text.slice(at * step, at * step + sampleLength));
}

function vote(texts: readonly string[]): string | null {
  const languages = texts.map(detectLanguage).filter((language) => language !== null);
  const votes = (language: string) => languages.filter((other) => other === language).length;
  return languages.toSorted((a, b) => votes(b) - votes(a))[0] ?? null;
}
