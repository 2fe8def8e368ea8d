/** Requests of a hostile caller, made of one valid request for each route. */

import { randomUUID } from "node:crypto";
import { mutations, pathsOf, replaced } from "./mutated-json.ts";
import type { Operation } from "./operations.ts";
import {
  type Belongings,
  json,
  paramsOf,
  pathOf,
  type Request,
  validPartsOf,
  validRequest,
} from "./valid-requests.ts";

/** Texts that mean something to somebody on the way: SQL, JavaScript, a shell, a formatter, a file system. */
const hostileTexts: readonly string[] = [
  "",
  " ",
  "\0",
  "a\0b",
  "\ud800",
  "b\udfff",
  "'; drop table entities; --",
  "' or '1'='1",
  "1); truncate events; --",
  "$1",
  "\\",
  "%",
  "%s%n%x%d",
  "{{7*7}}#{7*7}",
  "$(reboot)`reboot`",
  "<script>alert(1)</script>",
  "../../../etc/passwd",
  "__proto__",
  "constructor",
  "null",
  "undefined",
  "true",
  "NaN",
  "Infinity",
  "-Infinity",
  "-1",
  "0",
  "0x10",
  "1e5",
  "1e308",
  "1e999",
  "1.5",
  "9007199254740993",
  "-9223372036854775809",
  "2147483648",
  "00000000-0000-0000-0000-000000000000",
  "0001-01-01T00:00:00Z",
  "9999-12-31T23:59:59.9999999999Z",
  "\r\nset-cookie: a=b",
  "\u202e\u200b\ufeff",
  "😀",
  "x".repeat(1_001),
];

/** What may stand in a body where something else is expected, as JSON. */
const hostileValues: readonly string[] = [
  ...["", "\0", "-1", "1e5", "true", "Infinity", "'; drop table entities; --"].map((text) =>
    JSON.stringify(text),
  ),
  ..."null true false 0 -1 0.5 -0 1e5 1e308 -1e308 1e999 5e-324 9007199254740993 -9223372036854775809".split(
    " ",
  ),
  `{${Array.from({ length: 1_000 }, (_, nth) => `"k${nth}":1`)}}`,
  "[]",
  "[[]]",
  "[null]",
  `[${'"scene",'.repeat(1_000)}"scene"]`,
  "{}",
  '{"":""}',
  '{"toString":1,"hasOwnProperty":null}',
  '{"__proto__":{"polluted":true}}',
  '{"constructor":{"prototype":{"polluted":true}}}',
  '{"$ne":null}',
  nested(10_000, "[", "]"),
  nested(10_000, '{"a":', "}"),
];

function nested(levels: number, open: string, close: string): string {
  return `${open.repeat(levels)}1${close.repeat(levels)}`;
}

/** Names of fields that no object has. */
const hostileNames: readonly string[] = [
  "nope",
  "__proto__",
  "tenant_id",
  "\0",
  "\ud800",
  "'; drop table entities; --",
  "x".repeat(9_999),
];

/** Segments of a path as they are written: escaped, badly escaped, climbing, long. */
const hostileSegments: readonly string[] = [
  ...hostileTexts.filter((text) => text.isWellFormed() && text !== "").map(encodeURIComponent),
  "%ed%a0%80", // half a surrogate pair
  "%ff",
  "%c0%ae%c0%ae", // an overlong way to write two dots
  "%zz",
  "%",
  ".",
  "..",
  "%2e%2e",
  "%2f",
  "%2e%2e%2f%2e%2e%2fadmin%2ftenants",
  "a%2fb",
  "a//b",
  ";a=b",
  "*",
  "x".repeat(5_000),
];

/** Each parameter of the path, made hostile or another tenant's, and the path as a whole. */
export function hostilePaths(operation: Operation, own: Belongings, foreign: Belongings): readonly Request[] {
  const { url } = operation;
  const params = paramsOf(url, own);
  const others = paramsOf(url, { ...foreign, tenant_id: "" });
  const segments = Object.entries(others).flatMap(([name, other]) =>
    [...hostileSegments, other].map((segment) => pathOf(url, { ...params, [name]: segment })),
  );
  const path = pathOf(url, params);
  const whole = ["/", "/..", "%00", "%20", ";x", "%"].map((end) => `${path}${end}`);
  const paths = [...segments, ...whole, `/${path}`, path.toUpperCase()];
  return paths.map((each) => ({ ...validRequest(operation, own), path: each }));
}

/** Values of a query as they are written. */
const hostileQueryValues: readonly string[] = [
  ...hostileTexts.filter((text) => text.isWellFormed()).map(encodeURIComponent),
  "%ed%a0%80",
  "%ff",
  "%zz",
  "%00",
  "a%26b=c",
  "x".repeat(5_000),
];

/** Parts of a query that no route asks for. */
const strayQueries: readonly string[] = [
  "nope=1",
  "__proto__=1",
  "__proto__[polluted]=1",
  "constructor[prototype][polluted]=1",
  "toString=1",
  "=",
  "a=b=c",
  "%00=1",
  Array.from({ length: 1_500 }, (_, n) => `k${n}=`).join("&"),
];

/** Each parameter of the query, made hostile, given twice and given as a list; and such as nobody asks for. */
export function hostileQueries(operation: Operation, own: Belongings): readonly Request[] {
  const valid = validRequest(operation, own);
  const [path = "", query = ""] = valid.path.split("?");
  const known = operation.query.flatMap((name) => {
    const others = query.split("&").filter((each) => !each.startsWith(`${name}=`));
    const values = [
      ...hostileQueryValues.map((value) => `${name}=${value}`),
      `${name}`,
      `${name}[]=1`,
      `${name}[a]=1`,
    ];
    const twice = `${name}=1&${name}=2`;
    return [...values, twice, Array(200).fill(`${name}=1`).join("&")].map((each) =>
      [...others, each].join("&"),
    );
  });
  const stray = strayQueries.map((each) => [query, each].filter(Boolean).join("&"));
  return [...known, ...stray].map((each) => ({ ...valid, path: `${path}?${each}` }));
}

const headerTexts: readonly string[] = [
  ...hostileTexts.filter((text) => /^[\x20-\x7e]*$/.test(text)),
  "\u00ed\u00a0\u0080",
  "\u00ff",
  "a\tb",
  "x".repeat(5_000),
];

/** Headers by which some servers let a request mean another one. */
const overrides: readonly Readonly<Record<string, string>>[] = [
  { "x-http-method-override": "DELETE", "x-method-override": "DELETE", "x-http-method": "DELETE" },
  { "x-original-url": "/admin/tenants", "x-rewrite-url": "/admin/tenants" },
  { "x-forwarded-for": "'; drop table entities; --", "x-forwarded-host": "evil.example", forwarded: 'for="' },
];

/** Headers that mean something to somebody, with values that they should not have. */
const oddHeaders: readonly Readonly<Record<string, string>>[] = [
  ...overrides,
  { host: "evil.example:99999" },
  { host: "a b" },
  { host: "../../etc/passwd" },
  { accept: "text/html", "accept-encoding": "gzip", "accept-language": "%s%n" },
  { range: "bytes=0-1", "if-none-match": "*", "if-modified-since": "never" },
  { origin: "https://evil.example", "access-control-request-method": "DELETE" },
  { upgrade: "websocket", connection: "upgrade" },
  { upgrade: "h2c", connection: "upgrade, http2-settings", "http2-settings": "AAMAAABkAARAAAAAAAIAAAAA" },
  { te: "trailers", cookie: "\u00ff=\u00ff;;;=" },
];

/** The valid request with odd headers, and with those that we read made hostile. */
export function hostileHeaders(operation: Operation, own: Belongings): readonly Request[] {
  const { method, url } = operation;
  const read = [
    ...(method === "GET" || method === "HEAD" ? [] : ["idempotency-key"]),
    ...(url.endsWith("/stream") ? ["last-event-id"] : []),
  ];
  const ours = read.flatMap((name) => headerTexts.map((text) => ({ [name]: text })));
  return withHeaders(validRequest(operation, own), [...oddHeaders, ...ours]);
}

/** The valid request with headers that ask for it to be taken as another one. */
export function disguised(operation: Operation, own: Belongings): readonly Request[] {
  return withHeaders(validRequest(operation, own), overrides);
}

function withHeaders(valid: Request, each: readonly Readonly<Record<string, string>>[]): readonly Request[] {
  return each.map((headers) => ({ ...valid, headers: { ...valid.headers, ...headers } }));
}

/** What stands where a key should: none is one. */
export function badKeys(dead: readonly string[], alive: string): readonly string[] {
  const tokens = [...dead, ...headerTexts];
  const bearers = tokens.map((token) => `Bearer ${token}`);
  return [
    ...bearers,
    `Basic ${alive}`,
    alive,
    `Bearer ${alive} ${alive}`,
    `Bearer ${alive}=`,
    `Bearer${alive}`,
  ];
}

/** Bodies that are no JSON, or not what they say. */
const brokenBodies: readonly (string | Buffer)[] = [
  "{",
  "[",
  '"',
  "nul",
  "{'a':1}",
  '{"a":1,}',
  '{"a":1}{"a":1}',
  "NaN",
  "\0",
  "// a comment\n{}",
  '{"a":"\t\n"}',
  '{"a":"\\x41"}',
  '{"a":01}',
  Buffer.from('{"a":"\u00ff"}', "latin1"),
  Buffer.from('{"a":1}', "utf16le"),
  Buffer.from([0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0, 0, 3]),
  "{".repeat(100_000),
  nested(100_000, "[", "]"),
  nested(100_000, '{"a":', "}"),
  `{"a":[${"1,".repeat(100_000)}1]}`,
  `{${Array.from({ length: 20_000 }, (_, nth) => `"k${nth}":1`)}}`,
];

const otherTypes: readonly string[] = [
  "",
  "application/json; charset=utf-16",
  "application/json-patch+json",
  "application/x-www-form-urlencoded",
  "multipart/form-data; boundary=x",
  "text/plain",
  "application/json, text/plain",
  "application/json\u00ff",
  "x".repeat(2_000),
];

/** Bodies that are broken, of another type, of another shape, or with each of their fields made hostile. */
export function hostileBodies(operation: Operation, own: Belongings): readonly Request[] {
  const valid = validRequest(operation, own);
  const { body = {} } = validPartsOf(operation, own);
  const text = JSON.stringify(body);
  const texts = [...hostileTexts, "x".repeat(20_000)].map((each) => JSON.stringify(each));
  const mutated = mutations(body, { values: hostileValues, texts, names: hostileNames });
  const bodies = [...brokenBodies, `\ufeff${text}`, `${text} x`, text.slice(0, -1), ...mutated];
  return [
    ...bodies.map((each, nth) => ({ ...valid, ...(nth % 2 === 0 ? json(each) : onceOnly(each)) })),
    ...otherTypes.map((type) => ({ ...valid, headers: { "content-type": type }, body: text })),
    { ...valid, headers: { "content-type": "application/json", "content-encoding": "gzip" }, body: text },
  ];
}

function onceOnly(body: string | Buffer) {
  const { headers } = json(body);
  return { body, headers: { ...headers, "idempotency-key": randomUUID() } };
}

/** The valid request with the `nth` part of its body replaced by a value. */
export function withPart(operation: Operation, own: Belongings, nth: number, value: unknown): Request {
  const { body = {} } = validPartsOf(operation, own);
  const paths = pathsOf(body);
  const written = replaced(body, paths[nth % paths.length] ?? [], JSON.stringify(value));
  return { ...validRequest(operation, own), ...json(written) };
}

/** The valid request with the `nth` parameter of its query replaced by a text. */
export function withParameter(operation: Operation, own: Belongings, nth: number, text: string): Request {
  const { query = {} } = validPartsOf(operation, own);
  const name = operation.query[nth % operation.query.length] ?? "";
  const [path] = validRequest(operation, own).path.split("?");
  return { method: operation.method, path: `${path}?${new URLSearchParams({ ...query, [name]: text })}` };
}
