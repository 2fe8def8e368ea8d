import { expect, test } from "vitest";
import { detectLanguage } from "../../src/content/language.ts";

test.each([
  ["en", "The lamps were lit along the quay, and nobody had yet spoken to the stranger."],
  ["fr", "Les lampes étaient allumées le long du quai et personne n'avait parlé à l'étranger."],
  ["de", "Die Lampen brannten schon am Kai, und niemand hatte bisher mit dem Fremden gesprochen."],
  [
    "zh",
    "码头上的灯已经点亮了，还没有人和那个陌生人说过话。他站在雨里，等着船来，心里想着家乡的母亲和妹妹。",
  ],
])("knows %s", (language, text) => {
  expect(detectLanguage(text)).toBe(language);
});

test("does not guess below 40 letters", () => {
  expect(detectLanguage("The lamps were lit.")).toBeNull();
  expect(detectLanguage("12 34 !!! ".repeat(100))).toBeNull();
});

test("is not led astray by a foreign motto before a long text", () => {
  const motto = "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura.\n\n";
  const story = "The lamps were lit along the quay, and nobody had yet spoken to the stranger. ";
  expect(detectLanguage(motto + story.repeat(200))).toBe("en");
});
