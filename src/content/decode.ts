import { LoregraphError } from "../errors.ts";

export type Encoding = "utf-8" | "utf-16le" | "utf-16be" | "windows-1252" | "iso-8859-1";

/** A file's text without its byte order mark. `notes` are sentences about what was not plain UTF-8. */
export type Decoded = {
  readonly text: string;
  readonly encoding: Encoding;
  readonly notes: readonly string[];
};

/**
 * Reads text as UTF-8, as UTF-16 where it has a byte order mark, else as Windows-1252 or Latin-1.
 * Throws FILE_UNREADABLE, naming what it looks like, for anything that is no text.
 */
export function decodeText(bytes: Uint8Array): Decoded {
  refuseKnownFormats(bytes);
  const utf16 = utf16Mark(bytes);
  if (utf16) return decodeLoosely(bytes, utf16);
  refuseBinary(bytes);
  return decodeStrictly(bytes) ?? decodeDamaged(bytes) ?? decodeWestern(bytes);
}

/** The text as Postgres can store it: without NUL, each half of a surrogate pair that stands alone as U+FFFD. */
export function storable(text: string): { readonly text: string; readonly notes: readonly string[] } {
  const notes: string[] = [];
  const nuls = text.split("\0").length - 1;
  if (nuls > 0) notes.push(`removed ${nuls} NUL characters, which Postgres cannot store`);
  const kept = nuls > 0 ? text.replaceAll("\0", "") : text;
  if (kept.isWellFormed()) return { text: kept, notes };
  const broken = count(kept, /\p{Surrogate}/gu);
  notes.push(`replaced ${broken} lone surrogates by U+FFFD`);
  return { text: kept.toWellFormed(), notes };
}

/** The first bytes of formats that people take for text, in hexadecimal. */
const formats: readonly (readonly [RegExp, string])[] = [
  [/^255044462d/, "a PDF"],
  [/^504b0304/, "a ZIP archive (docx, xlsx, odt and epub are ZIP too)"],
  [/^d0cf11e0/, "an old Office document (doc, xls, ppt)"],
  [/^7b5c727466/, "an RTF document"],
  [/^89504e47/, "a PNG image"],
  [/^ffd8ff/, "a JPEG image"],
  [/^47494638/, "a GIF image"],
  [/^52494646.{8}(57415645|57454250|41564920)/, "a RIFF file (wav, webp, avi)"],
  [/^(4944330[2-4]|4f67675300|664c614300)/, "an audio file"],
  [/^.{8}66747970/, "an MP4 file"],
  [/^1f8b/, "gzip data"],
  [/^(377abcaf|526172211a)/, "an archive"],
  [/^7f454c46/, "an executable"],
  [/^53514c69746520666f726d6174203300/, "an SQLite database"],
  [/^(fffe0000|0000feff)/, "UTF-32 text: save it as UTF-8"],
];

function refuseKnownFormats(bytes: Uint8Array): void {
  const head = Buffer.from(bytes.subarray(0, 16)).toString("hex");
  const format = formats.find(([magic]) => magic.test(head));
  if (format) throw unreadable(format[1]);
}

function utf16Mark(bytes: Uint8Array): "utf-16le" | "utf-16be" | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return "utf-16le";
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return "utf-16be";
  return undefined;
}

/** A compressed or encrypted byte is a control character one time in ten; a text's hardly ever. */
const mostControls = 0.03;
/** A stray NUL is a scar that storing takes out; more of them are binary data, or UTF-16 without its mark. */
const mostNuls = 0.002;

function refuseBinary(bytes: Uint8Array): void {
  let controls = 0;
  let nuls = 0;
  for (const byte of bytes) {
    if (byte === 0) nuls++;
    if (isControl(byte)) controls++;
  }
  if (nuls > Math.max(2, bytes.length * mostNuls)) {
    throw unreadable("binary data (it holds NUL bytes and no UTF-16 byte order mark)");
  }
  if (controls > 8 && controls > bytes.length * mostControls) {
    throw unreadable(`binary data (${controls} of its ${bytes.length} bytes are control characters)`);
  }
}

/** Tab to carriage return, the end-of-file mark of DOS and the escape of terminal colours do stand in texts. */
function isControl(byte: number): boolean {
  return (byte < 0x20 && (byte < 0x09 || byte > 0x0d) && byte !== 0x1a && byte !== 0x1b) || byte === 0x7f;
}

function decodeStrictly(bytes: Uint8Array): Decoded | undefined {
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), encoding: "utf-8", notes: [] };
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** UTF-8 in which a few bytes are broken: read as Windows-1252, every other accent would be wrong too. */
function decodeDamaged(bytes: Uint8Array): Decoded | undefined {
  const decoded = decodeLoosely(bytes, "utf-8");
  const broken = count(decoded.text, /\ufffd/g);
  const whole = count(decoded.text, /[\u0080-\u{fffc}\u{fffe}-\u{10ffff}]/gu);
  return whole >= broken * 10 ? decoded : undefined;
}

function decodeLoosely(bytes: Uint8Array, encoding: "utf-8" | "utf-16le" | "utf-16be"): Decoded {
  const text = new TextDecoder(encoding).decode(bytes);
  const broken = count(text, /\ufffd/g);
  const notes = broken > 0 ? [`${broken} characters are broken and read U+FFFD`] : [];
  return { text, encoding, notes };
}

/** Western languages write few letters beyond ASCII; a larger share is another alphabet, which a guess would garble. */
const mostBeyondAscii = 0.3;

function decodeWestern(bytes: Uint8Array): Decoded {
  let beyondAscii = 0;
  let beyondLatin1 = 0;
  for (const byte of bytes) {
    if (byte >= 0x80) beyondAscii++;
    if (byte >= 0x80 && byte < 0xa0) beyondLatin1++;
  }
  if (beyondAscii > 8 && beyondAscii > bytes.length * mostBeyondAscii) {
    throw unreadable("text in an encoding that cannot be told: save it as UTF-8");
  }
  const text = new TextDecoder("windows-1252").decode(bytes);
  return beyondLatin1 > 0
    ? { text, encoding: "windows-1252", notes: ["it is not UTF-8: read as Windows-1252"] }
    : { text, encoding: "iso-8859-1", notes: ["it is not UTF-8: read as Latin-1"] };
}

function count(text: string, pattern: RegExp): number {
  let found = 0;
  for (const _ of text.matchAll(pattern)) found++;
  return found;
}

function unreadable(looksLike: string): LoregraphError {
  return new LoregraphError("FILE_UNREADABLE", `expected a text file, got what looks like ${looksLike}`);
}
