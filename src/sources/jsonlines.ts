import { z } from "zod";
import { storable } from "../content/decode.ts";
import { messageOf } from "../errors.ts";
import { SourceType, sourceTypes } from "../pipeline.ts";
import type { Draft, Rejected } from "./draft.ts";
import { nearest } from "./nearest.ts";

export type JsonLines = {
  readonly drafts: readonly Draft[];
  /** The lines that were left out. */
  readonly rejected: readonly Rejected[];
  /** What was repaired in lines that went in. */
  readonly notes: readonly Rejected[];
};

export type JsonLinesOptions = {
  /** The longest text of one entity, in UTF-16 code units. */
  readonly maxTextChars: number;
};

/**
 * Reads one entity a line: `{ "source_type", "source_id", "title", "text", "metadata" }`. Type and id are needed;
 * `type`, `id` and `name` stand for the first three where these are absent. Every other field (a character's `age`)
 * goes into metadata, except `tenant_id` and `version`, which the import decides. Blank lines are skipped.
 *
 * A broken line is rejected with its number and the reason, and the others go in.
 */
export async function jsonLineDrafts(
  lines: Iterable<string> | AsyncIterable<string>,
  { maxTextChars }: JsonLinesOptions,
): Promise<JsonLines> {
  const drafts: Draft[] = [];
  const rejected: Rejected[] = [];
  const notes: Rejected[] = [];
  const lineOf = new Map<string, number>();
  let line = 0;
  for await (const written of lines) {
    line++;
    if (written.trim() === "") continue;
    const reading = refuseRepeated(readLine(written, maxTextChars), lineOf);
    if (reading.kind === "broken") {
      rejected.push({ line, reason: reading.reason });
      continue;
    }
    lineOf.set(reading.draft.source_id, line);
    drafts.push(reading.draft);
    notes.push(...reading.notes.map((reason) => ({ line, reason })));
  }
  return { drafts, rejected, notes };
}

type Reading =
  | { readonly kind: "read"; readonly draft: Draft; readonly notes: readonly string[] }
  | { readonly kind: "broken"; readonly reason: string };

function readLine(written: string, maxTextChars: number): Reading {
  const json = parseJson(written.replace(/^\ufeff/, ""));
  if (json.kind === "broken") return json;
  const parsed = Entity.safeParse(named(json.value));
  if (!parsed.success) return broken(reasonOf(parsed.error));
  const { length } = parsed.data.text;
  if (length > maxTextChars)
    return broken(`text: expected at most ${maxTextChars} characters, got: ${length}`);
  const notes: string[] = [];
  return { kind: "read", draft: draftOf(sound(parsed.data, notes)), notes };
}

function parseJson(written: string): { kind: "json"; value: unknown } | { kind: "broken"; reason: string } {
  try {
    return { kind: "json", value: JSON.parse(written) };
  } catch (error) {
    return broken(`expected JSON, got: ${messageOf(error)}`);
  }
}

function broken(reason: string): { kind: "broken"; reason: string } {
  return { kind: "broken", reason };
}

/** One id is one entity: a second line would silently replace the first. */
function refuseRepeated(reading: Reading, lineOf: ReadonlyMap<string, number>): Reading {
  const first = reading.kind === "read" ? lineOf.get(reading.draft.source_id) : undefined;
  return first === undefined ? reading : broken(`source_id: line ${first} has the same id`);
}

const Entity = z.looseObject({
  source_type: z.string(wanted("a source type")).transform(toSourceType),
  source_id: z.guid(wanted("a uuid")).toLowerCase(),
  title: z.string(wanted("a text")).default(""),
  text: z.string(wanted("a text")).default(""),
  metadata: z.record(z.string(), z.unknown(), wanted("an object")).default({}),
});

function wanted(what: string) {
  return { error: ({ input }: { readonly input?: unknown }) => `expected ${what}, got: ${shown(input)}` };
}

function shown(value: unknown): string {
  if (value === undefined) return "nothing";
  const written = JSON.stringify(value);
  return written.length > 60 ? `${written.slice(0, 60)}…` : written;
}

function toSourceType(type: string, context: z.RefinementCtx): SourceType {
  const known = SourceType.safeParse(type);
  if (known.success) return known.data;
  const near = nearest(type, sourceTypes);
  context.addIssue(
    near
      ? `unknown type ${type}, did you mean ${near}?`
      : `expected one of ${sourceTypes.join(", ")}, got: ${type}`,
  );
  return z.NEVER;
}

/** `type`, `id` and `name` under their full names, unless these are there: then they are fields like any other. */
function named(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  const entity: Record<string, unknown> = { ...value };
  for (const [short, full] of [
    ["type", "source_type"],
    ["id", "source_id"],
    ["name", "title"],
  ] as const) {
    if (full in entity || !(short in entity)) continue;
    entity[full] = entity[short];
    delete entity[short];
  }
  return entity;
}

function draftOf({
  source_type,
  source_id,
  title,
  text,
  metadata,
  ...fields
}: z.infer<typeof Entity>): Draft {
  const { tenant_id: _tenant, version: _version, ...others } = fields;
  return { source_type, source_id, title, text, metadata: { ...others, ...metadata } };
}

function reasonOf({ issues: [issue] }: z.ZodError): string {
  if (!issue) return "expected an entity";
  return issue.path.length > 0
    ? `${issue.path.join(".")}: ${issue.message}`
    : `expected an object: ${issue.message}`;
}

/** The value with every text in it as Postgres can store it. */
function sound<Value>(value: Value, notes: string[]): Value;
function sound(value: unknown, notes: string[]): unknown {
  if (typeof value === "string") {
    const stored = storable(value);
    notes.push(...stored.notes);
    return stored.text;
  }
  if (Array.isArray(value)) return value.map((inner) => sound(inner, notes));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, inner]) => [sound(key, notes), sound(inner, notes)]),
  );
}
