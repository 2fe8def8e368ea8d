import { z } from "zod";
import type { Draft } from "../draft.ts";
import type { Fetched, Rejection, SourceKey } from "../entity-source.ts";
import { GivenKey, Id, textOf } from "./key.ts";
import { Malformed } from "./malformed.ts";
import { parseAnswer } from "./parse.ts";

const GivenEntity = GivenKey.extend({
  tenant_id: Id,
  title: z.string(),
  text: z.string(),
  metadata: z.record(z.string(), z.unknown()),
});

const Entities = z.object({ entities: z.array(GivenEntity), missing: z.array(GivenKey) });

export type AskedEntities = {
  readonly tenant_id: string;
  readonly keys: readonly SourceKey[];
  readonly maxTextChars: number;
};

/** Reads entities. Each asked key must be answered, once, and with nothing of another tenant. */
export function readEntities(bytes: ArrayBuffer, { tenant_id, keys, maxTextChars }: AskedEntities): Fetched {
  const { entities, missing } = parseAnswer(Entities, bytes);
  const stray = entities.findIndex((entity) => entity.tenant_id !== tenant_id.toLowerCase());
  if (stray >= 0) throw new Malformed(`entities[${stray}].tenant_id: expected the tenant that was asked for`);

  const open = new Map(keys.map((key) => [textOf(key), key]));
  const drafts = entities.map(({ title, text, metadata, ...key }, at) => ({
    ...taken(open, key, `entities[${at}]`),
    title,
    text,
    metadata,
  }));
  const without = missing.map((key, at) => taken(open, key, `missing[${at}]`));
  assertNoneOpen(open);
  return { ...fitting(drafts, maxTextChars), missing: without };
}

/** The key as it was asked for; from now on it is answered. */
function taken(open: Map<string, SourceKey>, given: GivenKey, where: string): SourceKey {
  const key = open.get(textOf(given));
  if (key === undefined) throw new Malformed(`${where}: expected what was asked for, and that once`);
  open.delete(textOf(given));
  return key;
}

function assertNoneOpen(open: ReadonlyMap<string, SourceKey>): void {
  const [first] = open.keys();
  if (first === undefined) return;
  throw new Malformed(
    `expected each key in entities or missing, got ${open.size} in neither, such as ${first}`,
  );
}

function fitting(drafts: readonly Draft[], maxTextChars: number): Omit<Fetched, "missing"> {
  const entities: Draft[] = [];
  const rejected: Rejection[] = [];
  for (const draft of drafts) {
    const reason = misfit(draft, maxTextChars);
    if (reason === undefined) entities.push(draft);
    else rejected.push({ source_type: draft.source_type, source_id: draft.source_id, reason });
  }
  return { entities, rejected };
}

/** A value that is nested deeper exhausts the stack of whoever writes it as JSON. */
const deepest = 100;

function misfit({ text, metadata }: Draft, maxTextChars: number): string | undefined {
  if (text.length > maxTextChars)
    return `text: expected at most ${maxTextChars} characters, got: ${text.length}`;
  return isDeeper(metadata, deepest) ? `metadata: expected at most ${deepest} levels, got: more` : undefined;
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1));
}
