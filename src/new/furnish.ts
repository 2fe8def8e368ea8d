import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { ownFile } from "../own-file.ts";
import { installed, installedBase, type Project } from "./project.ts";
import { withValue, writeWhole } from "./registry-file.ts";

/**
 * Gives an own project what graphs need and it lacks: ES modules, a `langgraph.json` that names base ingestion, a
 * `tsconfig.json`. Changes nothing that somebody chose. Answers what it did, in sentences.
 */
export function furnish(project: Project, registry: string): readonly string[] {
  if (project.runtime === "sources") return [];
  return [modules(project), registryFile(project, registry), typesOf(project)].flatMap((done) => done ?? []);
}

function modules({ root, type }: Project): string | undefined {
  if (type === "module") return undefined;
  if (type === undefined) {
    const file = join(root, "package.json");
    writeWhole(file, withValue(readFileSync(file, "utf8"), ["type"], "module"));
    return 'package.json now says "type": "module": graphs are ES modules';
  }
  const file = join(root, "graphs", "package.json");
  if (existsSync(file)) return undefined;
  mkdirSync(join(root, "graphs"), { recursive: true });
  writeWhole(file, json({ private: true, type: "module" }));
  return 'graphs/package.json says that graphs are ES modules; your package.json stays "commonjs"';
}

function registryFile({ root }: Project, registry: string): string | undefined {
  if (existsSync(registry)) return undefined;
  const base = installedBase(root);
  writeWhole(registry, json({ node_version: "22", dependencies: ["."], graphs: { base } }));
  return "langgraph.json names the graphs, base ingestion among them";
}

/** What Node strips of types, and no more. */
const compilerOptions = {
  target: "es2024",
  lib: ["es2024", "esnext"],
  module: "nodenext",
  strict: true,
  erasableSyntaxOnly: true,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
  skipLibCheck: true,
  types: ["node"],
  noEmit: true,
};

function typesOf({ root }: Project): string | undefined {
  const file = join(root, "tsconfig.json");
  if (existsSync(file)) return undefined;
  writeWhole(file, json({ compilerOptions, include: ["graphs"] }));
  return "tsconfig.json checks the types of graphs/";
}

function json(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}

const Versions = z.object({
  dependencies: z.record(z.string(), z.string()),
  devDependencies: z.record(z.string(), z.string()),
});

/** The command that installs what a graph or its test imports and the project has not, or undefined. */
export function missingPackages({ root }: Project): string | undefined {
  const { dependencies, devDependencies } = Versions.parse(
    JSON.parse(readFileSync(ownFile("package.json"), "utf8")),
  );
  const named = (names: readonly string[], versions: Readonly<Record<string, string>>) =>
    names.filter((name) => !installed(root, name)).map((name) => `${name}@${versions[name]}`);
  const commands = [
    ["npm install", named(["@langchain/core", "@langchain/langgraph", "zod"], dependencies)],
    ["npm install --save-dev", named(["vitest"], devDependencies)],
  ] as const;
  const needed = commands.filter(([, names]) => names.length > 0);
  return needed.length > 0
    ? needed.map(([install, names]) => [install, ...names].join(" ")).join(" && ")
    : undefined;
}
