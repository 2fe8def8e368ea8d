import { type Dirent, existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { sha256 } from "./hash.ts";
import type { Code } from "./pipeline.ts";

/**
 * Fingerprints the code of the graph whose pipeline `module` defines: the source files of its folder and of those below
 * it, but for tests, examples and packages. Where the folder is the project's own, which `langgraph.json` stands in, the
 * module alone.
 *
 * Line endings and where the folder lies make no difference. What was built of TypeScript is other text than its
 * source, and has a fingerprint of its own: it begins with the form, `ts` or `js`.
 */
export function codeOf(module: string): Code {
  const folder = dirname(module);
  const paths = existsSync(join(folder, "langgraph.json")) ? [basename(module)] : sourcesIn(folder);
  const files = paths.toSorted().map((path) => [path, hashOf(join(folder, path))] as const);
  const form = extname(module).endsWith("js") ? "js" : "ts";
  const fingerprint = `${form}-${sha256(JSON.stringify(files))}`;
  return { folder, fingerprint, files: Object.fromEntries(files) };
}

/** Paths from the folder on, with slashes on every platform. */
function sourcesIn(folder: string, below = ""): readonly string[] {
  return readdirSync(join(folder, below), { withFileTypes: true }).flatMap((entry) => {
    const path = `${below}${entry.name}`;
    if (entry.isDirectory()) return isOfGraph(entry) ? sourcesIn(folder, `${path}/`) : [];
    return entry.isFile() && isSource(entry.name) ? [path] : [];
  });
}

function isOfGraph({ name }: Dirent): boolean {
  return !name.startsWith(".") && !["node_modules", "test", "tests", "__tests__", "examples"].includes(name);
}

/** Declarations run nowhere, and neither examples nor tests make an answer. */
function isSource(name: string): boolean {
  return (
    /\.[cm]?[jt]sx?$/.test(name) && !/\.(test|spec|d)\.[cm]?[jt]sx?$/.test(name) && !/^examples\b/.test(name)
  );
}

function hashOf(file: string): string {
  const text = readFileSync(file, "utf8");
  return sha256(text.replace(/^\uFEFF/, "").replaceAll("\r\n", "\n"));
}
