import fc from "fast-check";
import { expect, test } from "vitest";
import { normalise } from "../../src/content/normalise.ts";

test("turns every kind of space and line end into the plain one", () => {
  expect(normalise("\ufeffa\tb\u00a0c\u3000d\r\ne\rf\u2028g")).toBe(" a b c d \ne\nf\ng");
});

test("returns a plain text itself", () => {
  expect(normalise("one two\n\nthree")).toBe("one two\n\nthree");
});

test("keeps every offset and every character that is not white space", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      const plain = normalise(text);
      expect(plain.length).toBe(text.length);
      for (let at = 0; at < text.length; at++) {
        if (/[^\s\u0085]/.test(text.charAt(at))) expect(plain.charAt(at)).toBe(text.charAt(at));
        else expect(plain.charAt(at)).toMatch(/[ \n]/);
      }
    }),
  );
});
