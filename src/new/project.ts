import { existsSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { z } from "zod";
import { LoregraphError, messageOf } from "../errors.ts";
import type { Runtime } from "./template.ts";

/** The repository that a graph is added to: this one, or one that has Loregraph as a dependency. */
export type Project = {
  readonly root: string;
  readonly runtime: Runtime;
  /** What its package.json says of itself; absent means CommonJS to Node, but nobody chose that. */
  readonly type: "module" | "commonjs" | undefined;
};

const Manifest = z.object({
  name: z.string().optional(),
  type: z.enum(["module", "commonjs"]).optional(),
});

/** Reads what the folder of `langgraph.json` is. Throws INPUT_INVALID where it is no package, or has no Loregraph. */
export function projectAt(root: string): Project {
  const manifest = readManifest(root);
  if (manifest.name === "loregraph" && existsSync(join(root, "src", "pipeline.ts")))
    return { root, runtime: "sources", type: manifest.type };
  if (!installed(root, "loregraph"))
    throw new LoregraphError(
      "INPUT_INVALID",
      `${root} has no loregraph: run \`npm install loregraph\` there first`,
    );
  return { root, runtime: "package", type: manifest.type };
}

function readManifest(root: string): z.infer<typeof Manifest> {
  const file = join(root, "package.json");
  if (!existsSync(file)) throw new LoregraphError("INPUT_INVALID", noPackage(root));
  try {
    return Manifest.parse(JSON.parse(readFileSync(file, "utf8")));
  } catch (cause) {
    const why = cause instanceof z.ZodError ? z.prettifyError(cause) : messageOf(cause);
    throw new LoregraphError("INPUT_INVALID", `cannot read ${file}: ${why}`, { cause });
  }
}

function noPackage(root: string): string {
  const above = ancestors(dirname(root)).find((folder) => existsSync(join(folder, "package.json")));
  const instead = above
    ? `; did you mean to be in ${above}?`
    : ": run `npm init -y && npm install loregraph` there first";
  return `expected a package.json in ${root}${instead}`;
}

/** The folder of a package as Node would find it from `root`, or undefined. */
export function installed(root: string, name: string): string | undefined {
  return ancestors(root)
    .map((folder) => join(folder, "node_modules", name))
    .find((folder) => existsSync(join(folder, "package.json")));
}

/** Where `langgraph.json` finds base ingestion in an own project. */
export function installedBase(root: string): string {
  const base = join(installed(root, "loregraph") ?? "", "dist", "graphs", "base", "pipeline.js");
  const path = relative(root, base).replaceAll("\\", "/");
  return `${path.startsWith("../") ? path : `./${path}`}:default`;
}

function ancestors(folder: string): readonly string[] {
  const above = dirname(folder);
  return above === folder ? [folder] : [folder, ...ancestors(above)];
}
