import { describe, expect, test } from "vitest";
import { decodeText, storable } from "../../src/content/decode.ts";

const utf8 = (text: string) => new TextEncoder().encode(text);
const latin1 = (text: string) => Uint8Array.from(Buffer.from(text, "latin1"));
const failure = (bytes: Uint8Array) => {
  try {
    return decodeText(bytes);
  } catch (error) {
    return error;
  }
};

describe("decodeText", () => {
  test("reads UTF-8 and drops its byte order mark", () => {
    expect(decodeText(utf8("Gänse"))).toEqual({ text: "Gänse", encoding: "utf-8", notes: [] });
    expect(decodeText(utf8("\ufeffGänse")).text).toBe("Gänse");
  });

  test("reads UTF-16 of either byte order where there is a mark", () => {
    const little = Buffer.from("\ufeffGänse 鵝", "utf16le");
    expect(decodeText(Uint8Array.from(little))).toMatchObject({ text: "Gänse 鵝", encoding: "utf-16le" });
    expect(decodeText(Uint8Array.from(little.swap16()))).toMatchObject({
      text: "Gänse 鵝",
      encoding: "utf-16be",
    });
  });

  test("reads Windows-1252 and Latin-1, and says that it did", () => {
    expect(decodeText(latin1("caf\xe9"))).toMatchObject({ text: "café", encoding: "iso-8859-1" });
    const quoted = decodeText(latin1("\x93caf\xe9\x94 \x97"));
    expect(quoted).toMatchObject({ text: "“café” —", encoding: "windows-1252" });
    expect(quoted.notes).toEqual(["it is not UTF-8: read as Windows-1252"]);
  });

  test("keeps the accents of UTF-8 in which one byte is broken", () => {
    const bytes = Uint8Array.from([...utf8("é".repeat(40)), 0xff, ...utf8("é")]);
    const { text, encoding, notes } = decodeText(bytes);
    expect({ text, encoding }).toEqual({ text: `${"é".repeat(40)}\ufffdé`, encoding: "utf-8" });
    expect(notes).toEqual(["1 characters are broken and read U+FFFD"]);
  });

  test("takes a stray NUL for a scar, not for binary data", () => {
    expect(decodeText(utf8("once\0upon a time"))).toMatchObject({
      text: "once\0upon a time",
      encoding: "utf-8",
    });
  });

  test.each([
    ["a PDF", latin1("%PDF-1.7\n%\xe2\xe3")],
    ["ZIP", latin1("PK\x03\x04\x14\x00")],
    ["PNG", latin1("\x89PNG\r\n\x1a\n")],
    ["RTF", utf8("{\\rtf1\\ansi Once upon a time}")],
    ["UTF-32", latin1("\xff\xfe\x00\x00a\x00\x00\x00")],
    ["NUL", utf8("once\0upon\0a\0time\0")],
    ["control characters", latin1("\x01\x02\x03abc\x04\x05\x06".repeat(20))],
    ["cannot be told", latin1("\xce\xd2\xca\xc7\xd6\xd0\xb9\xfa\xc8\xcb")],
  ])("refuses what looks like %s, naming it", (name, bytes) => {
    expect(failure(bytes)).toMatchObject({
      code: "FILE_UNREADABLE",
      message: expect.stringContaining(name),
    });
  });

  test("reads an empty file as an empty text", () => {
    expect(decodeText(new Uint8Array())).toEqual({ text: "", encoding: "utf-8", notes: [] });
  });
});

describe("storable", () => {
  test("leaves a sound text alone", () => {
    expect(storable("Gänse 🦢")).toEqual({ text: "Gänse 🦢", notes: [] });
  });

  test("removes NUL and replaces lone surrogates, saying how many", () => {
    expect(storable("a\0b\0\ud83d🦢\udea2")).toEqual({
      text: "ab\ufffd🦢\ufffd",
      notes: [
        "removed 2 NUL characters, which Postgres cannot store",
        "replaced 2 lone surrogates by U+FFFD",
      ],
    });
  });
});
