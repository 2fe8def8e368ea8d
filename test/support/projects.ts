import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { onTestFinished } from "vitest";

const source = (file: string) => pathToFileURL(file).href;

/** What the modules of a project begin with: the contract, LangGraph and zod, wherever its folder lies. */
const imports = `
import { appendFileSync } from "node:fs";
import { definePipeline, Emitted, Entity } from ${JSON.stringify(source("src/pipeline.ts"))};
import { END, START, StateGraph } from ${JSON.stringify(import.meta.resolve("@langchain/langgraph"))};
import { z } from ${JSON.stringify(import.meta.resolve("zod"))};
`;

/** Base ingestion as it is shipped. */
const base = `export { default } from ${JSON.stringify(source("graphs/base/pipeline.ts"))};`;

/** A folder outside the checkout with a langgraph.json, base, and these modules. It goes with the test. */
export async function projectInTest(
  graphs: Readonly<Record<string, string>>,
  modules: Readonly<Record<string, string>>,
) {
  const folder = await mkdtemp(join(tmpdir(), "loregraph-project-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const write = async (path: string, text: string) => {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  const name = (entries: Readonly<Record<string, string>>) =>
    write(
      "langgraph.json",
      JSON.stringify({
        node_version: "22",
        graphs: { base: "./graphs/base/pipeline.ts:default", ...entries },
      }),
    );
  await name(graphs);
  await write("graphs/base/pipeline.ts", base);
  for (const [path, text] of Object.entries(modules)) await write(path, `${imports}${text}`);
  return {
    folder,
    registry: join(folder, "langgraph.json"),
    write,
    /** Writes a module anew. */
    change: (path: string, text: string) => write(path, `${imports}${text}`),
    /** Writes other entries beside base's. */
    name,
  };
}

/** An enricher that says a word of each entity. */
export function saying(word: string, { name = "echo", version = 1, on = "entity.ingested" } = {}): string {
  return `
const Said = z.object({ said: z.string() });
export default definePipeline({
  name: "${name}", version: ${version}, local: "word", trigger: { on: "${on}" }, output: Said,
  graph: () => new StateGraph({ state: Entity.extend(Said.shape), input: Entity, output: Said })
    .addNode("say", () => ({ said: ${JSON.stringify(word)} }))
    .addEdge(START, "say").addEdge("say", END),
});`;
}
