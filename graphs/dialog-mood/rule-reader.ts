import { setImmediate } from "node:timers/promises";
import { isEnglish, loadEnglish } from "../../src/content/english.ts";
import type { Reader } from "./reader.ts";
import { readByRules } from "./rules.ts";
import { wholeOf } from "./whole.ts";

/** Reads with no model, by the cues of English. Another language is declined rather than guessed at. */
export const ruleReader: Reader = {
  atOnce: Number.POSITIVE_INFINITY,
  declines: ({ text, metadata }) =>
    isEnglish(text, metadata.language) ? undefined : "local rules read English only",
  exchange: async (turns, signal) => {
    const english = await loadEnglish();
    // A novel takes a second: heartbeats and a cancel come through between exchanges.
    await setImmediate();
    signal?.throwIfAborted();
    return readByRules(english, turns);
  },
  whole: async (exchanges) => wholeOf(exchanges),
};
