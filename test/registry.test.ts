import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { findPipeline, loadRegistry } from "../src/registry.ts";
import { run } from "./support/cli.ts";

let folder: string;
beforeEach(async () => {
  folder = await realpath(await mkdtemp(join(tmpdir(), "loregraph-registry-")));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const contract = new URL("../src/pipeline.ts", import.meta.url).href;
const zod = import.meta.resolve("zod");

/** A module whose default export is a pipeline. */
function moduleOf(
  name: string,
  on = "entity.ingested",
  emits: readonly string[] = [],
  mentioned = false,
  version = 1,
): string {
  return `import { definePipeline } from "${contract}";
import { z } from "${zod}";
export const other = 1;
export default definePipeline({
  name: "${name}", version: ${version}, trigger: { on: "${on}", mentioned: ${mentioned} }, output: z.object({}), emits: ${JSON.stringify(emits)},
  graph: () => { throw new Error("not here"); },
});`;
}

/** Loads a langgraph.json of these entries, beside these modules. */
async function load(graphs: unknown, modules: Readonly<Record<string, string>> = {}) {
  for (const [file, text] of Object.entries(modules)) await writeFile(join(folder, file), text);
  const file = join(folder, "langgraph.json");
  await writeFile(file, typeof graphs === "string" ? graphs : JSON.stringify({ node_version: "22", graphs }));
  return await loadRegistry(file);
}

test("loads the pipelines that the file names, by their names", async () => {
  const registry = await load(
    { moods: "./moods.ts:default", traits: "./traits.ts:default" },
    {
      "moods.ts": moduleOf("moods", "entity.ingested", ["mood.found"]),
      "traits.ts": moduleOf("traits", "mood.found"),
    },
  );

  expect([...registry.keys()]).toEqual(["moods", "traits"]);
  expect(registry.get("traits")).toMatchObject({ kind: "enricher", trigger: { on: "mood.found" } });
});

test("lets a pipeline wait for all that is enriched, but by itself", async () => {
  const arcs = moduleOf("arcs", "entity.enriched").replace(
    "mentioned: false",
    'when: ({ pipeline }) => pipeline !== "arcs"',
  );
  const registry = await load(
    { moods: "./moods.ts:default", arcs: "./arcs.ts:default" },
    { "moods.ts": moduleOf("moods"), "arcs.ts": arcs },
  );

  expect([...registry.keys()]).toEqual(["moods", "arcs"]);
});

test("keeps the code of each, found by what its folder holds", async () => {
  const registry = await load({ moods: "./moods.ts:default" }, { "moods.ts": moduleOf("moods") });

  expect(registry.get("moods")?.code).toMatchObject({
    fingerprint: expect.stringMatching(/^ts-/),
    files: { "moods.ts": expect.stringMatching(/^[0-9a-f]{64}$/) },
  });
});

test("keeps another version beside the one that runs, to be found by name and version", async () => {
  const registry = await load(
    { moods: "./moods.ts:default", "moods@2": "./moods-2.ts:default" },
    {
      "moods.ts": moduleOf("moods"),
      "moods-2.ts": moduleOf("moods", "entity.ingested", [], false, 2),
    },
  );

  expect([...registry.keys()]).toEqual(["moods"]);
  expect(findPipeline(registry, "moods")).toMatchObject({ version: 1 });
  expect(findPipeline(registry, "moods", 1)).toBe(registry.get("moods"));
  expect(findPipeline(registry, "moods", 2)).toMatchObject({ name: "moods", version: 2 });
  expect(findPipeline(registry, "moods", 3)).toBeUndefined();
});

test("lets an enricher wait for another one, and another for that", async () => {
  const registry = await load(
    { moods: "./moods.ts:default", arcs: "./arcs.ts:default", plots: "./plots.ts:default" },
    {
      "moods.ts": moduleOf("moods"),
      "arcs.ts": moduleOf("arcs", "moods.enriched"),
      "plots.ts": moduleOf("plots", "arcs.enriched"),
    },
  );

  expect([...registry.keys()]).toEqual(["moods", "arcs", "plots"]);
});

test("lets a deletion trigger a pipeline that reads whom the text spoke of", async () => {
  const registry = await load(
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "entity.deleted", [], true) },
  );

  expect(registry.get("moods")).toMatchObject({ trigger: { on: "entity.deleted", mentioned: true } });
});

test("loads our own where no file is named", async () => {
  expect([...(await loadRegistry()).keys()]).toContain("base");
});

test.each<[string, unknown, Readonly<Record<string, string>>, readonly string[]]>([
  [
    "a module that does not exist",
    { moods: "./gone.ts:default" },
    {},
    ['"moods"', "./gone.ts", "does not exist"],
  ],
  [
    "a module that cannot be parsed",
    { moods: "./moods.ts:default" },
    { "moods.ts": "const one = 1;\nexport default {" },
    ['"moods"', "cannot be loaded"],
  ],
  [
    "a module that throws",
    { moods: "./moods.ts:default" },
    { "moods.ts": '\nthrow new Error("on import")' },
    ['"moods"', "on import", "/moods.ts:2: "],
  ],
  [
    "a module that imports what is not there",
    { moods: "./moods.ts:default" },
    { "moods.ts": 'export const one = 1;\n\nimport "./gone.ts";' },
    ['"moods"', "/moods.ts:3: ", "gone.ts"],
  ],
  [
    "a module that imports a package that is not there",
    { moods: "./moods.ts:default" },
    { "moods.ts": 'import "no-such-package";' },
    ['"moods"', "/moods.ts:1: ", "no-such-package"],
  ],
  [
    "two pipelines of one name",
    '{\n  "graphs": {\n    "moods": "./a.ts:default",\n    "moods": "./b.ts:default"\n  }\n}',
    {},
    ["lines 3 and 4 both name a pipeline moods"],
  ],
  [
    "an export that is missing",
    { moods: "./moods.ts:pipeline" },
    { "moods.ts": moduleOf("moods") },
    ['"moods"', "expected ./moods.ts to export pipeline", "it exports default, other"],
  ],
  [
    "an export that is no pipeline",
    { moods: "./moods.ts:other" },
    { "moods.ts": moduleOf("moods") },
    ['"moods"', "definePipeline"],
  ],
  [
    "a pipeline of another name",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("mood") },
    ['"moods"', "got: mood"],
  ],
  [
    "a pipeline that is none",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("No Name") },
    ['"moods"', "No Name"],
  ],
  [
    "an event that nobody emits",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "entity.ingestd") },
    ['"moods"', "got: entity.ingestd", "entity.ingested"],
  ],
  [
    "an event that the runtime does not append yet",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "reingest.requested") },
    ['"moods"', "got: reingest.requested", "entity.ingested"],
  ],
  [
    "an event after which its entity is gone",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "entity.deleted") },
    ['"moods"', "entity.deleted", "is gone", "trigger.mentioned"],
  ],
  [
    "an event that is the runtime's to append",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "entity.ingested", ["mood.found", "entity.changed"]) },
    ['"moods"', "emits", "got: entity.changed"],
  ],
  [
    "a version that is not the one it is named for",
    { moods: "./moods.ts:default", "moods@3": "./moods-2.ts:default" },
    {
      "moods.ts": moduleOf("moods"),
      "moods-2.ts": moduleOf("moods", "entity.ingested", [], false, 2),
    },
    ['"moods@3"', "of version 3, got: 2"],
  ],
  [
    "a version to be tried that is no higher",
    { moods: "./moods.ts:default", "moods@1": "./moods.ts:default" },
    { "moods.ts": moduleOf("moods") },
    ['"moods@1"', 'above that of "moods", 1'],
  ],
  [
    "a version to be tried beside nothing",
    { "moods@1": "./moods.ts:default" },
    { "moods.ts": moduleOf("moods") },
    ['"moods@1"', 'an entry "moods" beside it'],
  ],
  [
    "an enricher that there is none of",
    { moods: "./moods.ts:default", arcs: "./arcs.ts:default" },
    { "moods.ts": moduleOf("moods"), "arcs.ts": moduleOf("arcs", "mods.enriched") },
    ['"arcs"', "an enricher (moods, arcs)", "got: mods.enriched", "did you mean moods.enriched?"],
  ],
  [
    "a pipeline that waits for itself",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "moods.enriched") },
    ['"moods"', "because of itself: moods → moods"],
  ],
  [
    "one that waits for all that is enriched, itself too",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "entity.enriched") },
    ["because of itself: moods → moods"],
  ],
  [
    "a cycle over what is stored and what is emitted",
    { moods: "./moods.ts:default", arcs: "./arcs.ts:default", plots: "./plots.ts:default" },
    {
      "moods.ts": moduleOf("moods", "plot.found"),
      "arcs.ts": moduleOf("arcs", "moods.enriched"),
      "plots.ts": moduleOf("plots", "arcs.enriched", ["plot.found"]),
    },
    ["moods → arcs → plots → moods"],
  ],
  [
    "a cycle that would be one if a version that is tried came to run",
    { moods: "./moods.ts:default", "moods@2": "./moods-2.ts:default", arcs: "./arcs.ts:default" },
    {
      "moods.ts": moduleOf("moods"),
      "moods-2.ts": moduleOf("moods", "arcs.enriched", [], false, 2),
      "arcs.ts": moduleOf("arcs", "moods.enriched"),
    },
    ["moods → arcs → moods"],
  ],
  [
    "an event that looks like what the runtime tells of an enricher",
    { moods: "./moods.ts:default" },
    { "moods.ts": moduleOf("moods", "entity.ingested", ["plots.enriched"]) },
    ["emits", "got: plots.enriched"],
  ],
  ["an entry without an export", { moods: "./moods.ts" }, {}, ["moods", "path:export"]],
  ["an entry that is no text", { moods: { path: "./moods.ts" } }, {}, ["moods", "langgraph.json"]],
  ["a file without graphs", '{"node_version":"22"}', {}, ["graphs", "langgraph.json"]],
  ["broken JSON", '{"graphs":', {}, ["langgraph.json", "JSON"]],
])("names the entry of %s", async (_, graphs, modules, parts) => {
  const failed = load(graphs, modules);

  await expect(failed).rejects.toMatchObject({ code: "REGISTRY_INVALID" });
  for (const part of parts) await expect(failed).rejects.toThrow(part);
});

// In the Node that runs the commands: vitest would load the modules in a way of its own.
test.each([
  ["cannot be parsed", "const one = 1;\nexport default {", "moods.ts:2: "],
  ["uses what Node cannot strip", "const one = 1;\n\nenum Mood { glad }", "moods.ts:3: "],
  ["imports what another does not export", 'import { two } from "./other.ts";\ntwo;', "moods.ts:1: "],
  ["throws", '\n\nthrow new Error("on import");', "moods.ts:3: on import"],
])("names file and line of a module that %s", async (_, text, said) => {
  const files = { "moods.ts": text, "other.ts": "export const one = 1;" };
  await load({ moods: "./moods.ts:default" }, files).catch(() => {});
  const { code, err } = await run(["graph", "moods"], { LOREGRAPH_GRAPHS: join(folder, "langgraph.json") });

  expect(code).toBe(2);
  expect(err).toContain(`"moods" cannot be loaded: ${folder}/${said}`);
});

test("names a file that is not there", async () => {
  await expect(loadRegistry(join(folder, "none.json"))).rejects.toMatchObject({
    code: "REGISTRY_INVALID",
    message: expect.stringContaining("none.json"),
  });
});
