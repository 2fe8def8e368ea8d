/** A value as JSON, written with something else in one place of it. */

type Path = readonly string[];

export type Mutants = {
  /** What stands in place of each part, as JSON, and beside it in place of each text. */
  readonly values: readonly string[];
  readonly texts: readonly string[];
  /** The fields that are added to each object. */
  readonly names: readonly string[];
};

/** The value with each part of it replaced, each field left out, and fields added to each object. */
export function mutations(value: object, { values, texts, names }: Mutants): readonly string[] {
  return pathsOf(value).flatMap((path) => {
    const part = partAt(value, path);
    const all = typeof part === "string" ? [...values, ...texts] : values;
    const others = all.filter((other) => path.length > 0 || other !== "{}"); // it may mean: all there is
    const parts = [...others, ...(isObject(part) ? names.map((name) => withField(part, name)) : [])];
    return [...parts, undefined].map((other) => replaced(value, path, other));
  });
}

/** The paths of a value and of all that is in it. */
export function pathsOf(value: unknown): readonly Path[] {
  const inner = entriesOf(value).flatMap(([key, each]) => pathsOf(each).map((path) => [key, ...path]));
  return [[], ...inner];
}

/** The value as JSON, with `other` at the path; where that is undefined, nothing is there. */
export function replaced(value: unknown, [key, ...rest]: Path, other: string | undefined): string {
  if (key === undefined) return other ?? "";
  const parts = entriesOf(value).flatMap(([name, each]) => {
    const written = name === key ? replaced(each, rest, other) : JSON.stringify(each);
    if (written === "") return [];
    return [Array.isArray(value) ? written : `${JSON.stringify(name)}:${written}`];
  });
  return Array.isArray(value) ? `[${parts}]` : `{${parts}}`;
}

function withField(object: object, name: string): string {
  const fields = JSON.stringify(object).slice(1, -1);
  return `{${[fields, `${JSON.stringify(name)}:{"polluted":true}`].filter(Boolean).join(",")}}`;
}

function partAt(value: unknown, path: Path): unknown {
  return path.reduce((part, key) => new Map(entriesOf(part)).get(key), value);
}

function entriesOf(value: unknown): [string, unknown][] {
  return typeof value === "object" && value !== null ? Object.entries(value) : [];
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
