import { setImmediate } from "node:timers/promises";
import { loadEnglish } from "../../src/content/english.ts";
import { detectLanguage } from "../../src/content/language.ts";
import type { Entity } from "../../src/pipeline.ts";
import type { Reader } from "./reader.ts";
import { readByRules } from "./rules.ts";
import { wholeOf } from "./whole.ts";

/** Reads with no model, by the cues of English. Another language is declined rather than guessed at. */
export const ruleReader: Reader = {
  atOnce: Number.POSITIVE_INFINITY,
  declines: (entity) => (isEnglish(entity) ? undefined : "local rules read English only"),
  exchange: async (turns, signal) => {
    const english = await loadEnglish();
    // A novel takes a second: heartbeats and a cancel come through between exchanges.
    await setImmediate();
    signal?.throwIfAborted();
    return readByRules(english, turns);
  },
  whole: async (exchanges) => wholeOf(exchanges),
};

/** What the metadata says, else what the text looks like. A text too short to tell counts if its letters are Latin. */
function isEnglish({ text, metadata }: Entity): boolean {
  const { language } = metadata;
  if (typeof language === "string" && language !== "") return /^en(g|glish)?\b/i.test(language);
  const detected = detectLanguage(text);
  return detected ? detected === "en" : /\p{Script=Latin}/u.test(text);
}
