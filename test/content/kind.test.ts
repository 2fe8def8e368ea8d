import { describe, expect, test } from "vitest";
import { contentKind, detectKind } from "../../src/content/kind.ts";
import type { SourceType } from "../../src/pipeline.ts";

describe("contentKind", () => {
  const span = { start: 100, end: 200 };

  test.each([
    ["narration", 0],
    ["narration", 4],
    ["mixed", 5],
    ["mixed", 79],
    ["dialogue", 80],
    ["dialogue", 100],
  ])("is %s where %i of 100 characters are spoken", (kind, spoken) => {
    expect(contentKind(span, [{ start: 100, end: 100 + spoken }])).toBe(kind);
  });

  test("counts only what is spoken inside the span", () => {
    const around = [
      { start: 0, end: 102 },
      { start: 199, end: 300 },
    ];
    expect(contentKind(span, around)).toBe("narration");
    expect(contentKind(span, [{ start: 0, end: 185 }])).toBe("dialogue");
  });
});

describe("detectKind", () => {
  const kindOf = (
    source_type: SourceType,
    text: string,
    spoken: readonly (readonly [number, number])[] = [],
  ) =>
    detectKind(
      { source_type, text },
      spoken.map(([start, end]) => ({ start, end })),
    );

  test("is empty without a letter or a digit", () => {
    expect(kindOf("scene", " \n * * * \n")).toBe("empty");
  });

  test("is structured where most lines are fields or list items", () => {
    const sheet =
      "Name: Ada Vell\nAge: 34\n\n## Traits\n- stubborn\n- kind to dogs\n\nShe left the coast when she was nine.";
    expect(kindOf("character", sheet)).toBe("structured");
    expect(kindOf("content_block", sheet)).toBe("structured");
  });

  test("reads short lines as fields on a sheet, and as verse in a story", () => {
    const short = "Harbour town\nNorth coast\nRain, mostly\nTwo inns";
    expect(kindOf("location", short)).toBe("structured");
    expect(kindOf("scene", short)).toBe("narration");
  });

  test("is prose even on a character's sheet", () => {
    const prose = "She left the coast when she was nine.\n\nNobody asked why: nobody had noticed her at all.";
    expect(kindOf("character", prose)).toBe("narration");
  });

  test("is dialogue where somebody speaks, a play included", () => {
    expect(kindOf("scene", "“Go,” she said, and he went.", [[0, 5]])).toBe("dialogue");
    const play = "ADA: Go away now.\nBEN: I shall not go.";
    expect(
      kindOf("scene", play, [
        [5, 17],
        [23, 38],
      ]),
    ).toBe("dialogue");
  });
});
