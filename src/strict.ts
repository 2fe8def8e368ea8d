import { z } from "zod";
import { LoregraphError } from "./errors.ts";

/** JSON Schema, as far as it matters here. */
type Schema = {
  readonly type?: string | readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Schema;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly $defs?: Readonly<Record<string, Schema>>;
  readonly [keyword: string]: unknown;
};

type Fault = { readonly path: string; readonly why: string };

/** What OpenAI's strict mode takes at most: levels of objects, fields in all, values of one enum. */
const [deepest, mostFields, mostValues] = [10, 5_000, 1_000];

/** Keywords that it refuses, and what to write instead. */
const refused: Readonly<Record<string, string>> = {
  oneOf: "write `z.union` for `z.discriminatedUnion`",
  allOf: "write one object for `z.intersection`, as `.extend` makes it",
  not: "there is no `z.never`",
  prefixItems: "write an object for `z.tuple`",
  propertyNames: "write an array of objects with a name for `z.record`",
  patternProperties: "write an array of objects with a name for `z.record`",
};

/**
 * Throws PIPELINE_INVALID where OpenAI's strict mode cannot express `schema`, with the path of each field and what to write
 * instead: a model server would refuse every question, and say less. Source: OpenAI's guide to structured outputs.
 */
export function assertStrict(schema: z.ZodObject, name: string): void {
  const faults = faultsOf(schema);
  if (faults.length === 0) return;
  const lines = faults.map(({ path, why }) => `  ${path || "(the whole)"}: ${why}`);
  throw new LoregraphError(
    "PIPELINE_INVALID",
    `the shape of ${name} cannot be asked of a model in strict mode:\n${lines.join("\n")}`,
  );
}

function faultsOf(schema: z.ZodObject): readonly Fault[] {
  const unsayable: Fault[] = [];
  const json = z.toJSONSchema(schema, {
    unrepresentable: "any",
    override: ({ zodSchema, path }) => {
      const { type } = zodSchema._zod.def;
      if (!sayable.has(type)) unsayable.push({ path: pathOf(path), why: `no JSON is a ${type}` });
    },
  }) as Schema;
  const fields = countFields(json);
  const many =
    fields > mostFields ? [{ path: "", why: `expected at most ${mostFields} fields, got: ${fields}` }] : [];
  const defs = Object.entries(json.$defs ?? {}).flatMap(([def, each]) => faultsIn(each, def, 1));
  return unsayable.length > 0 ? unsayable : [...many, ...faultsIn(json, "", 1), ...defs];
}

/** The kinds of zod that have a form in JSON. */
const sayable: ReadonlySet<string> = new Set(
  `string number int boolean null enum literal object array tuple record union intersection optional nullable
  nonoptional default prefault readonly catch lazy pipe any unknown never template_literal`.split(/\s+/),
);

function pathOf(path: readonly (string | number)[]): string {
  return path.filter((part) => !["properties", "anyOf", "items"].includes(String(part))).join(".");
}

function faultsIn(schema: Schema, path: string, depth: number): readonly Fault[] {
  if (schema.$ref !== undefined) return [];
  const keywords = Object.entries(refused).flatMap(([keyword, why]) =>
    keyword in schema ? [{ path, why: `${why} (${keyword})` }] : [],
  );
  if (keywords.length > 0) return keywords;
  if (depth > deepest) return [{ path, why: `expected at most ${deepest} levels, got more` }];
  return [
    ...untyped(schema, path),
    ...tooManyValues(schema, path),
    ...faultsOfObject(schema, path, depth),
    ...(schema.items ? faultsIn(schema.items, `${path}[]`, depth + 1) : []),
    ...(schema.anyOf ?? []).flatMap((each) => faultsIn(each, path, depth)),
  ];
}

function untyped(schema: Schema, path: string): readonly Fault[] {
  const says = ["type", "anyOf", "enum", "const"].some((keyword) => keyword in schema);
  return says ? [] : [{ path, why: "expected a type, got: anything (z.any, z.unknown)" }];
}

function tooManyValues({ enum: values }: Schema, path: string): readonly Fault[] {
  const got = Array.isArray(values) ? values.length : 0;
  return got > mostValues ? [{ path, why: `expected at most ${mostValues} values, got: ${got}` }] : [];
}

function faultsOfObject(
  { properties = {}, required = [], additionalProperties }: Schema,
  path: string,
  depth: number,
): readonly Fault[] {
  const open = additionalProperties !== undefined && additionalProperties !== false;
  const below = (field: string) => (path ? `${path}.${field}` : field);
  return [
    ...(open ? [{ path, why: "expected its fields to be named, got: any (z.record, z.looseObject)" }] : []),
    ...Object.keys(properties)
      .filter((field) => !required.includes(field))
      .map((field) => ({
        path: below(field),
        why: "write `.nullable()` for `.optional()`: every field must be there",
      })),
    ...Object.entries(properties).flatMap(([field, each]) => faultsIn(each, below(field), depth + 1)),
  ];
}

function countFields(schema: Schema): number {
  const below = [
    ...Object.values(schema.properties ?? {}),
    ...(schema.anyOf ?? []),
    ...Object.values(schema.$defs ?? {}),
  ];
  const inItems = schema.items ? countFields(schema.items) : 0;
  return (
    Object.keys(schema.properties ?? {}).length +
    inItems +
    below.reduce((sum, each) => sum + countFields(each), 0)
  );
}
