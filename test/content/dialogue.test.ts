import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { findDialogue } from "../../src/content/dialogue.ts";

const spoken = (text: string) => findDialogue(text).map(({ start, end }) => text.slice(start, end));
const speakers = (text: string) => findDialogue(text).map(({ speaker }) => speaker);

describe("fenced code", () => {
  test.each([
    '```json title="x"\n{ "say": "Go away!" }\n```',
    "~~~\n“Go away!” she cried.\n~~~",
    "````md\n```\n“Go away!” she cried.\n```\n\n“No!”\n````",
    "  ```\r\n“Go away!” she cried.\r\n  ```",
  ])("is no speech, nor parts a pair of marks: %j", (code) => {
    const text = `“Look,” she said.\n\n${code}\n\n“Well!” he said.`;
    expect(spoken(text)).toEqual(["“Look,”", "“Well!”"]);
  });

  test.each([
    ["scene breaks", "~~~"],
    ["a fence that nothing closes", "~~~text"],
  ])("does not begin at %s", (_, line) => {
    const text = `The rain fell.\n\n${line}\n\n“Look,” she said.\n\n${line}\n\nThe rain fell.`;
    expect(spoken(text)).toEqual(["“Look,”"]);
  });

  test("is found in time linear in the text's length", () => {
    // Processor time: that of others who keep the machine busy does not count.
    const start = process.cpuUsage();
    expect(spoken("```a\n".repeat(200_000))).toEqual([]);
    expect(process.cpuUsage(start).user / 1_000).toBeLessThan(5_000);
  });
});

describe("double quotation marks", () => {
  test("finds what is said on both sides of its tag, marks included", () => {
    expect(spoken("“I am tired,” said Mara, “and it is late.” She shut the book.")).toEqual([
      "“I am tired,”",
      "“and it is late.”",
    ]);
  });

  test("finds what runs over a line's end in a paragraph that is wrapped, with no blank line to show it", () => {
    const text =
      "The ferryman shook his head. “The river is\nhigh,” he said, “and my\nboat is old. Come\nback on Monday.”";
    expect(spoken(text)).toEqual(["“The river is\nhigh,”", "“and my\nboat is old. Come\nback on Monday.”"]);
  });

  test("ends what nobody closes at its line where each line is a paragraph", () => {
    const text = "“Stay here.\nThe ferryman shook his head.\n“The river is high,” he said.\nNobody answered.";
    expect(spoken(text)).toEqual(["“Stay here.", "“The river is high,”"]);
  });

  test("reads straight marks by their place", () => {
    expect(spoken('"No!" he cried. The sign was 12" wide. "Never."')).toEqual(['"No!"', '"Never."']);
  });

  test("counts offsets in UTF-16 code units", () => {
    expect(findDialogue("🐉 roared. “Run!”")).toEqual([{ start: 11, end: 17 }]);
  });

  test("leaves out terms, titles and words held up to be seen", () => {
    const text = `The so-called “experts” read “Hamlet” in the “Blue Room”. The word “love” was carved there.
      He was known as “The Wolf.” They sang “Old Tom Bell.”`;
    expect(spoken(text)).toEqual([]);
  });

  test("leaves out what is only imagined", () => {
    expect(
      spoken("She looked round, as much as to say, “What now?” He didn't say “perhaps,” but thought so."),
    ).toEqual([]);
  });

  test("leaves out a quoted letter, whole, but not what is said about it", () => {
    const text = `The note was as follows:

“My dear Tom,--

“I am well.

“Yours, Ann.”

“Well!” said Tom.`;
    expect(spoken(text)).toEqual(["“Well!”"]);
  });

  test("finds a line that follows a heading without a stop", () => {
    expect(spoken("CHAPTER ONE The Lamp “It went out,” grumbled Pip, and looked up.")).toEqual([
      "“It went out,”",
    ]);
  });

  test("leaves out an inscription", () => {
    expect(spoken("“To James, from his friends,” was engraved upon it.")).toEqual([]);
  });

  test("keeps a quotation within a quotation as part of it, even in the same marks", () => {
    expect(spoken("“He reads nothing but the “Times,” and sleeps.” She sighed.")).toEqual([
      "“He reads nothing but the “Times,” and sleeps.”",
    ]);
    expect(spoken("“She said, ‘Go home,’ and so I went,” said Tom.")).toEqual([
      "“She said, ‘Go home,’ and so I went,”",
    ]);
  });
});

describe("paragraphs", () => {
  test("reads speech over several paragraphs, each opened and only the last closed", () => {
    expect(spoken("“It began in May.\n\n“Then the rain came.\n\n“Then nothing.”\n\nHe sat down.")).toEqual([
      "“It began in May.",
      "“Then the rain came.",
      "“Then nothing.”",
    ]);
  });

  test("loses no more than the paragraph to a forgotten mark", () => {
    const text = '"I forgot to close this.\n\nHe went out.\n\n"Wait," said Ann.\n\nIt rained.\n\n"Yes."';
    expect(spoken(text)).toEqual(['"I forgot to close this.', '"Wait,"', '"Yes."']);
  });

  test("reads over the ends of wrapped lines", () => {
    expect(spoken('He\nsaid, "You must\ncome, _now_,\nwith me." Then\nhe left.\n\nNight fell.')).toEqual([
      '"You must\ncome, _now_,\nwith me."',
    ]);
  });

  test("reads Windows line ends", () => {
    expect(spoken("“One.\r\n\r\n“Two,”\r\nsaid Ann.\r\n\r\n— Trois ?\r\n")).toEqual([
      "“One.",
      "“Two,”",
      "— Trois ?",
    ]);
  });

  test("reads texts that were cut into tokens, a sentence a line", () => {
    const text = `He took the " low road " home , and it rained .\n" Is it far ? "\nasked Ann , and " No , " he said .\nThe dogs ' bowls were full .`;
    expect(spoken(text)).toEqual(['" Is it far ? "', '" No , "']);
  });
});

describe("single quotation marks", () => {
  test("are told from apostrophes", () => {
    const text = `'It's the dogs' dinner,' said Pym, 'and 'tis no affair o' yours.'

The boys' coats hung there. He was goin' 'ome to his mother's.`;
    expect(spoken(text)).toEqual(["'It's the dogs' dinner,'", "'and 'tis no affair o' yours.'"]);
  });

  test("are told from apostrophes when both are curly", () => {
    expect(spoken("‘I don’t know the Joneses’ dog,’ said Ann. ’Twas late. ‘Ask Tom.’")).toEqual([
      "‘I don’t know the Joneses’ dog,’",
      "‘Ask Tom.’",
    ]);
  });

  test("hold double ones, where they are the outer marks", () => {
    expect(spoken(`'The "Times" says otherwise,' he said. 'She told me "no" twice.'`)).toEqual([
      `'The "Times" says otherwise,'`,
      `'She told me "no" twice.'`,
    ]);
  });
});

describe("French", () => {
  test("leaves the incise out of a dashed line", () => {
    expect(spoken("— Oui, dit-il, je viens.\n— Ah ! s'écria la vieille dame en riant. Enfin !")).toEqual([
      "— Oui,",
      "je viens.",
      "— Ah !",
      "Enfin !",
    ]);
  });

  test("leaves the story that follows an incise out, too", () => {
    expect(
      spoken("— Je n'ai pas pu, répondit Jean. Il posa son chapeau sur la table.\n\n— Pourquoi ?"),
    ).toEqual(["— Je n'ai pas pu,", "— Pourquoi ?"]);
  });

  test("keeps what is said of others after an incise", () => {
    expect(spoken("— Non, gazouilla-t-elle. Elle était malade.\n— Ah ?")).toEqual([
      "— Non,",
      "Elle était malade.",
      "— Ah ?",
    ]);
  });

  test("takes a question's inversion for speech", () => {
    expect(spoken("— Pierre, viendra-t-il ?")).toEqual(["— Pierre, viendra-t-il ?"]);
    expect(spoken("— Demain, vient-il avec vous ?")).toEqual(["— Demain, vient-il avec vous ?"]);
  });

  test("reads guillemets, with spaces of any width and the incise inside", () => {
    expect(
      spoken("Il ajouta : «\u00a0Partons.\u00a0» «\u202fJe ne sais pas, murmura-t-elle, où aller.\u202f»"),
    ).toEqual(["«\u00a0Partons.\u00a0»", "«\u202fJe ne sais pas,", "où aller.\u202f»"]);
  });

  test("reads on where each paragraph repeats the closing guillemet", () => {
    expect(
      spoken("« C'est fini.\n\n» Il faut partir, dit le docteur Morin.\n\n» Venez. »\n\nIl sortit."),
    ).toEqual(["« C'est fini.", "» Il faut partir,", "» Venez. »"]);
  });

  test("leaves the incise out of other marks, too", () => {
    expect(spoken('"Allons, dit-il, il faut partir."')).toEqual(['"Allons,', 'il faut partir."']);
  });

  test("leaves out titles and terms in guillemets", () => {
    expect(spoken("Il lisait « Le Monde » chaque matin, et le soi-disant « ami » dormait.")).toEqual([]);
  });

  test("reads a conversation of dashes that guillemets enclose", () => {
    expect(spoken("« Bonjour.\n\n— Bonsoir, dit Paul.\n\n— Entrez donc. »\n\nIl entra.")).toEqual([
      "« Bonjour.",
      "— Bonsoir,",
      "— Entrez donc. »",
    ]);
  });
});

describe("dashes", () => {
  test("open speech in English and Spanish", () => {
    expect(spoken("—Come up, Kit! he said gaily. You are late.\n\nHe laughed.\n\n—Yes?")).toEqual([
      "—Come up, Kit!",
      "You are late.",
      "—Yes?",
    ]);
    expect(spoken("—Sí —dijo Juan—, ya voy.")).toEqual(["—Sí", "ya voy."]);
  });

  test("open no speech in lists, signatures and wrapped lines", () => {
    expect(spoken("Buy:\n\n- Milk\n- Bread\n- Tea")).toEqual([]);
    expect(spoken("All is well that ends.\n\n— Anonymous")).toEqual([]);
    expect(spoken("There was nothing there\n--the hills, the sky, the sea--to be seen.")).toEqual([]);
  });
});

test("reads German and Chinese marks", () => {
  expect(spoken("„Wer ist da?“, fragte Anna. »Ich«, sagte er. Das „Paradies“ lag fern.")).toEqual([
    "„Wer ist da?“",
    "»Ich«",
  ]);
  expect(spoken("「你來了。」她說。\n他笑道：「是啊，『早起』對嗎？」\n所謂「自由」不過是一個詞。")).toEqual([
    "「你來了。」",
    "「是啊，『早起』對嗎？」",
  ]);
  expect(spoken("悟空道：“师父，我去也。”那“石”字儿隐了。")).toEqual(["“师父，我去也。”"]);
});

describe("speakers", () => {
  test("are those whom the text names beside the line", () => {
    expect(
      speakers("“Go,” said Mr. Pym, “and hurry.”\n\nAnn Lee answered softly: “Yes.”\n\n“Why?” asked he."),
    ).toEqual(["Mr. Pym", "Mr. Pym", "Ann Lee", undefined]);
    expect(speakers("— Oui, dit Jean, je viens.\n— Non, dit-elle.\n— Sí —dijo Juan—.")).toEqual([
      "Jean",
      "Jean",
      undefined,
      "Juan",
    ]);
    expect(speakers("« C'est fini, dit le docteur Morin. »")).toEqual(["Morin"]);
    expect(speakers("悟空道：“我去也。”")).toEqual(["悟空"]);
  });

  test("are kept for the rest of the paragraph, and not for the answer", () => {
    expect(speakers("“Go,” said Ann. “Now.”\n\n“I will.”\n\n“Good.”")).toEqual([
      "Ann",
      "Ann",
      undefined,
      undefined,
    ]);
  });
});

const signs = fc.constantFrom(
  ..."\"'“”‘’„«»「」`—-.,!?: \n\r\u00a0".split(""),
  "\n\n",
  "word",
  "Jean",
  "said",
  "dit-il",
  "道",
  "🐉",
);

test("answers ordered, separate, non-empty lines for any text", () => {
  fc.assert(
    fc.property(fc.array(signs, { maxLength: 80 }), (parts) => {
      const text = parts.join("");
      let reached = 0;
      for (const { start, end } of findDialogue(text)) {
        expect(start).toBeGreaterThanOrEqual(reached);
        expect(end).toBeGreaterThan(start);
        reached = end;
      }
      expect(reached).toBeLessThanOrEqual(text.length);
    }),
    { numRuns: 500 },
  );
});

describe("grows no faster than the text", () => {
  const repeated = [
    '"',
    "'",
    "“",
    "«",
    "« ",
    "word ",
    "a",
    "\n ",
    "— Oui, dit-il, ",
    "- A\n",
    ", en",
    "“A,” said Bo ",
    "-",
  ];

  test.each(repeated)("of nothing but %j", (part) => {
    const short = timed(`A\n\n${part.repeat(20_000 / part.length)}`);
    const long = timed(`A\n\n${part.repeat(160_000 / part.length)}`);
    expect(long).toBeLessThan(8 * 4 * (short + 5));
  });

  function timed(text: string): number {
    const start = performance.now();
    findDialogue(text);
    return performance.now() - start;
  }
});
