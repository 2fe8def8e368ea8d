import { globSync, readFileSync } from "node:fs";
import { posix } from "node:path";
import { type Program, parseSync, Visitor } from "oxc-parser";

/** One import. `target` is a file of the project, a package, or undefined where only the run tells. */
export type Import = {
  readonly written: string;
  readonly target: string | undefined;
  readonly kind: "value" | "type" | "lazy";
};

/** One source file, its path from the root with forward slashes. */
export type Module = {
  readonly path: string;
  readonly lines: number;
  readonly imports: readonly Import[];
  /** Does it name `process.env`, or take `env` from `node:process`? */
  readonly readsEnvironment: boolean;
};

/** Parses the source files that match. Throws on a syntax error, naming the file. */
export function modulesOf(pattern: string): readonly Module[] {
  return globSync(pattern)
    .map((path) => path.replaceAll("\\", "/"))
    .sort()
    .map((path) => parseModule(path, readFileSync(path, "utf8")));
}

export function parseModule(path: string, source: string): Module {
  const { program, errors } = parseSync(path, source);
  if (errors[0]) throw new Error(`${path}: ${errors[0].message}`);
  return { path, lines: source.split("\n").length - 1, ...readProgram(path, program) };
}

function readProgram(path: string, program: Program): Omit<Module, "path" | "lines"> {
  const imports: Import[] = [];
  let readsEnvironment = false;
  const add = (written: string, kind: Import["kind"]) =>
    imports.push({ written, target: targetOf(path, written), kind });

  new Visitor({
    ImportDeclaration({ source, importKind, specifiers }) {
      const named = specifiers.map((each) => each.type === "ImportSpecifier" && each.importKind === "type");
      const onlyTypes = importKind === "type" || (named.length > 0 && named.every(Boolean));
      add(source.value, onlyTypes ? "type" : "value");
      readsEnvironment ||=
        source.value === "node:process" && specifiers.some(({ local }) => local.name === "env");
    },
    ExportNamedDeclaration({ source, exportKind }) {
      if (source) add(source.value, exportKind === "type" ? "type" : "value");
    },
    ExportAllDeclaration({ source, exportKind }) {
      add(source.value, exportKind === "type" ? "type" : "value");
    },
    TSImportType({ source }) {
      add(source.value, "type");
    },
    ImportExpression({ source }) {
      if (source.type === "Literal" && typeof source.value === "string") add(source.value, "lazy");
      else imports.push({ written: "a computed name", target: undefined, kind: "lazy" });
    },
    MemberExpression({ object, property }) {
      const named = property.type === "Identifier" ? property.name : undefined;
      const quoted = property.type === "Literal" ? property.value : undefined;
      const isProcess = object.type === "Identifier" && object.name === "process";
      readsEnvironment ||= isProcess && (named ?? quoted) === "env";
    },
  }).visit(program);
  return { imports, readsEnvironment };
}

function targetOf(path: string, written: string): string {
  return written.startsWith(".") ? posix.join(posix.dirname(path), written) : written;
}

/** A cycle of imports that are needed to load a file, each path once, or undefined. */
export function findCycle(modules: readonly Module[]): readonly string[] | undefined {
  const byPath = new Map(modules.map((module) => [module.path, module]));
  const done = new Set<string>();

  const search = (path: string, trail: readonly string[]): readonly string[] | undefined => {
    if (trail.includes(path)) return trail.slice(trail.indexOf(path));
    if (done.has(path)) return undefined;
    for (const { target, kind } of byPath.get(path)?.imports ?? []) {
      const cycle = kind === "lazy" || !target ? undefined : search(target, [...trail, path]);
      if (cycle) return cycle;
    }
    done.add(path);
    return undefined;
  };

  return modules
    .values()
    .map(({ path }) => search(path, []))
    .find((cycle) => cycle !== undefined);
}
