import { canonicalJson } from "../hash.ts";

/** Two outputs of one entity, by the version that runs and by the one that is tried. */
export type Pair = {
  readonly before: Readonly<Record<string, unknown>>;
  readonly after: Readonly<Record<string, unknown>>;
};

/** How one field of two outputs differs. `distance` is 0 where they are equal and 1 where nothing of them is. */
export type FieldDifference = {
  readonly field: string;
  readonly distance: number;
  readonly before: unknown;
  readonly after: unknown;
  /** Where both are numbers: after less before. */
  readonly delta?: number;
  /** Where both are lists: what came and what went. */
  readonly added?: readonly string[];
  readonly removed?: readonly string[];
};

/** How two outputs differ, field by field, equal ones among them. Objects are compared by their own fields. */
export function compare({ before, after }: Pair): readonly FieldDifference[] {
  const [one, other] = [fieldsOf(before), fieldsOf(after)];
  const names = [...new Set([...one.keys(), ...other.keys()])].toSorted();
  return names.map((field) => compareField(field, one.get(field), other.get(field)));
}

/** How far two outputs are from each other: the mean of their fields, from 0 to 1. */
export function distanceOf(differences: readonly FieldDifference[]): number {
  if (differences.length === 0) return 0;
  return differences.reduce((sum, { distance }) => sum + distance, 0) / differences.length;
}

/** Deeper than this, an object is compared as a whole. */
const deepest = 3;

function fieldsOf(
  value: Readonly<Record<string, unknown>>,
  prefix = "",
  depth = 1,
): ReadonlyMap<string, unknown> {
  const fields = Object.entries(value).flatMap(([name, inner]) =>
    isRecord(inner) && depth < deepest && Object.keys(inner).length > 0
      ? [...fieldsOf(inner, `${prefix}${name}.`, depth + 1)]
      : [[`${prefix}${name}`, inner] as const],
  );
  return new Map(fields);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function compareField(field: string, before: unknown, after: unknown): FieldDifference {
  const both = { field, before: before ?? null, after: after ?? null };
  if (typeof before === "number" && typeof after === "number")
    return { ...both, ...compareNumbers(before, after) };
  if (Array.isArray(before) && Array.isArray(after)) return { ...both, ...compareLists(before, after) };
  return { ...both, distance: canonicalJson(before) === canonicalJson(after) ? 0 : 1 };
}

function compareNumbers(before: number, after: number) {
  const delta = after - before;
  return { delta, distance: Math.min(1, Math.abs(delta) / Math.max(1, Math.abs(before), Math.abs(after))) };
}

/** As sets: their order is not compared, but each item counts as often as it stands there. */
function compareLists(before: readonly unknown[], after: readonly unknown[]) {
  const [one, other] = [before.map(canonicalJson), after.map(canonicalJson)];
  const [removed, added] = [without(one, other), without(other, one)];
  const all = one.length + added.length;
  return { added, removed, distance: all === 0 ? 0 : (added.length + removed.length) / all };
}

function without(items: readonly string[], others: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const item of others) left.set(item, (left.get(item) ?? 0) + 1);
  return items.filter((item) => {
    const count = left.get(item) ?? 0;
    left.set(item, count - 1);
    return count <= 0;
  });
}
