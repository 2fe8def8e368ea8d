import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LoregraphError } from "../errors.ts";
import { ownFile } from "../own-file.ts";

/** What a new pipeline is called and what triggers it. */
export type NewPipeline = { readonly name: string; readonly on: string; readonly types: readonly string[] };

/** Where a graph finds the runtime: in the sources of this repository, or in the package. */
export type Runtime = "sources" | "package";

/** The files of a new graph's folder, by name: those of `template/`, which is itself a pipeline that is tested. */
export function templateFiles(pipeline: NewPipeline, runtime: Runtime): ReadonlyMap<string, string> {
  const folder = ownFile("src/new/template");
  const names = readdirSync(folder).toSorted();
  return new Map(names.map((name) => [name, filled(name, readFileSync(join(folder, name), "utf8"))]));

  function filled(name: string, text: string): string {
    if (name === "pipeline.ts") return withImports(withTrigger(text, pipeline), runtime);
    return withImports(text, runtime);
  }
}

const templateName = 'name: "template"';
const templateTrigger = '  trigger: { on: "entity.ingested", types: ["scene"] },';

function withTrigger(text: string, { name, on, types }: NewPipeline): string {
  for (const part of [templateName, templateTrigger])
    if (!text.includes(part)) throw new LoregraphError("INTERNAL", `the template has no ${part}`);
  const list = types.length > 0 ? [`types: [${types.map((type) => `"${type}"`).join(", ")}]`] : [];
  const parts = [`on: "${on}"`, ...list];
  return text.replace(templateName, `name: "${name}"`).replace(templateTrigger, triggerOf(parts));
}

/** On one line where it fits, as the formatter would have it. */
function triggerOf(parts: readonly string[]): string {
  const line = `  trigger: { ${parts.join(", ")} },`;
  return line.length <= 110
    ? line
    : ["  trigger: {", ...parts.map((part) => `    ${part},`), "  },"].join("\n");
}

const ourImport = /^import \{ ([^}]*) \} from "\.\.\/\.\.\/([^"]+)\.ts";\n/gm;

/** Our own modules by their paths in the sources, or all of them by the package's doors, a line for each. */
function withImports(text: string, runtime: Runtime): string {
  if (runtime === "sources") return text.replaceAll('from "../../', 'from "../../src/');
  const wanted = Map.groupBy(text.matchAll(ourImport), ([, , module = ""]) => doorTo(module));
  return text.replace(ourImport, (written, _, module) => {
    const imports = wanted.get(doorTo(module)) ?? [];
    return written === imports[0]?.[0] ? oneImport(doorTo(module), imports) : "";
  });
}

function doorTo(module: string): string {
  return module === "testing" ? "loregraph/testing" : "loregraph";
}

function oneImport(door: string, imports: readonly RegExpExecArray[]): string {
  const names = imports.flatMap(([, list = ""]) => list.split(", "));
  return `import { ${names.toSorted(byName).join(", ")} } from "${door}";\n`;
}

function byName(one: string, other: string): number {
  return one.replace("type ", "").localeCompare(other.replace("type ", ""), "en");
}
