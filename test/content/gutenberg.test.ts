import { expect, test } from "vitest";
import { findGutenberg } from "../../src/content/gutenberg.ts";

const book = "CHAPTER I.\n\nThe lamps were lit along the quay.\n\nNobody spoke of Project Gutenberg.";
const cut = (text: string) => {
  const found = findGutenberg(text);
  return found && { ...found, text: text.slice(found.start, found.end).trim() };
};

test.each([
  [
    "*** START OF THE PROJECT GUTENBERG EBOOK THE QUAY ***",
    "*** END OF THE PROJECT GUTENBERG EBOOK THE QUAY ***",
  ],
  [
    "*** START OF THIS PROJECT GUTENBERG EBOOK THE\nQUAY ***\n\n\nProduced by Ann Onym and\nthe proofreaders",
    "End of the Project Gutenberg EBook of The Quay, by A. Vell",
  ],
  [
    "***START OF THE PROJECT GUTENBERG EBOOK THE QUAY***",
    "***END OF THE PROJECT GUTENBERG EBOOK THE QUAY***",
  ],
  [
    "The Project Gutenberg Etext of The Quay, by A. Vell\n\n*END*THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.04.29.93*END*",
    "End of Project Gutenberg's The Quay, by A. Vell",
  ],
  [
    "***The Project Gutenberg Etext of The Quay, by A. Vell***",
    "End of The Project Gutenberg Etext of The Quay",
  ],
  [
    "*END THE SMALL PRINT! FOR PUBLIC DOMAIN ETEXTS*Ver.07.02.92*END*",
    "Fin de Project Gutenberg Etext Le Quai",
  ],
  ["*** START OF THE PROJECT GUTENBERG EBOOK DER KAI ***", "Ende dieses Projekt Gutenberg Etextes Der Kai"],
])("cuts between %j and its end", (header, footer) => {
  expect(cut(`Some words first.\n\n${header}\n\n\n${book}\n\n\n${footer}\n\nSome licence.`)?.text).toBe(book);
});

test("reads title, author and language from the header", () => {
  const header =
    "Title: The Quay\n       Or, the Lamps\n\nAuthor: A. Vell\n\nLanguage: French\n\n*** START OF THE PROJECT GUTENBERG EBOOK ***";
  expect(cut(`${header}\n\n${book}`)).toMatchObject({
    title: "The Quay Or, the Lamps",
    author: "A. Vell",
    language: "fr",
    text: book,
  });
});

test("reads title and author from the first line of an old file", () => {
  const header =
    "Project Gutenberg's The Quay, by A. Vell\n\n*** START OF THIS PROJECT GUTENBERG EBOOK THE QUAY ***";
  expect(cut(`${header}\n\n${book}`)).toMatchObject({ title: "The Quay", author: "A. Vell" });
});

test("leaves a text alone that only speaks of Project Gutenberg", () => {
  expect(findGutenberg(book)).toBeUndefined();
});
