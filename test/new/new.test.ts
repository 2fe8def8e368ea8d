import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { describe, expect, onTestFinished, test } from "vitest";
import { newPipeline } from "../../src/new/new.ts";
import { loadRegistry } from "../../src/registry.ts";
import { emptyFolder, run } from "../support/cli.ts";

const checkout = resolve(import.meta.dirname, "../..");
const weather = { name: "scene-weather", on: "entity.ingested", types: ["scene"] };

/** A folder with these files, and what is linked of the checkout. */
async function project(
  files: Readonly<Record<string, unknown>>,
  links: readonly string[] = [],
): Promise<string> {
  const root = await realpath(await mkdtemp(join(tmpdir(), "loregraph-new-")));
  onTestFinished(() => rm(root, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, name)), { recursive: true });
    await writeFile(join(root, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  for (const name of links) await symlink(join(checkout, name), join(root, name));
  return root;
}

const tsconfig = JSON.parse(readFileSync(join(checkout, "tsconfig.json"), "utf8"));

/** A checkout of this repository that has one graph, named with tabs. */
const registry =
  '{\n\t"node_version": "22",\n\t"graphs": {\n\t\t"base": "./graphs/base/pipeline.ts:default"\n\t}\n}\n';
const ownCheckout = () =>
  project(
    {
      "langgraph.json": registry,
      "package.json": { name: "loregraph", type: "module" },
      "tsconfig.json": { ...tsconfig, include: ["graphs"] },
      "graphs/base/pipeline.ts": readFileSync(join(checkout, "graphs/base/pipeline.ts"), "utf8"),
      "graphs/base/graph.ts": readFileSync(join(checkout, "graphs/base/graph.ts"), "utf8"),
      "graphs/base/schema.ts": readFileSync(join(checkout, "graphs/base/schema.ts"), "utf8"),
    },
    ["src", "checkpoints", "node_modules", "biome.json"],
  );

/** A project of somebody's own that has the package installed; nothing of it runs here. */
const installed = {
  "node_modules/loregraph/package.json": { name: "loregraph" },
  "node_modules/loregraph/dist/graphs/base/pipeline.js": "",
};

const create = (root: string, pipeline: Partial<typeof weather> = {}) =>
  newPipeline({ ...weather, ...pipeline }, join(root, "langgraph.json"));

describe("in this repository", () => {
  test("writes a folder that passes its test, its types and its lint, and is loaded", async () => {
    const root = await ownCheckout();
    const said = await run(["new", "scene-weather", "--types", "beat,scene", "--json"], {}, root);

    expect(said).toMatchObject({ code: 0, err: "" });
    expect(JSON.parse(said.out)).toMatchObject({
      pipeline: "scene-weather",
      folder: join(root, "graphs/scene-weather"),
      files: [
        "examples.jsonl",
        "graph.test.ts",
        "graph.ts",
        "pipeline.ts",
        "prompt.ts",
        "rules.ts",
        "schema.ts",
      ],
      did: [],
    });
    const loaded = (await loadRegistry(join(root, "langgraph.json"))).get("scene-weather");
    expect(loaded).toMatchObject({
      version: 1,
      trigger: { on: "entity.ingested", types: ["beat", "scene"] },
    });
    expect(await npx(root, "vitest", "run", "graphs/scene-weather")).toMatch(/Tests\s+5 passed/);
    await npx(root, "tsc");
    await npx(root, "biome", "ci", "--vcs-enabled=false", "graphs/scene-weather");
  }, 600_000);

  test("adds its line to langgraph.json and leaves every other character as it was", async () => {
    const root = await ownCheckout();
    await create(root);

    expect(readFileSync(join(root, "langgraph.json"), "utf8")).toBe(
      registry.replace(
        '.ts:default"\n',
        '.ts:default",\n\t\t"scene-weather": "./graphs/scene-weather/pipeline.ts:default"\n',
      ),
    );
    expect(readdirSync(root).filter((name) => name.startsWith("langgraph.json"))).toEqual(["langgraph.json"]);
  });
});

describe("refuses, and writes nothing:", () => {
  test.each<[string, Partial<typeof weather>, string]>([
    ["a name in capitals", { name: "SceneWeather" }, 'got: "SceneWeather", did you mean scene-weather?'],
    ["a name with blanks", { name: "scène  weather!" }, "did you mean scene-weather?"],
    ["a path", { name: "../x" }, "did you mean x?"],
    ["nothing", { name: "" }, 'got: ""'],
    ["a name that is too long", { name: "a".repeat(64) }, `did you mean ${"a".repeat(63)}?`],
    ["base", { name: "base" }, "base is the runtime's own"],
    ["webhook", { name: "webhook" }, "webhook is the runtime's own"],
    ["an event with a slip", { on: "entity.ingestd" }, "did you mean entity.ingested?"],
    ["an event that nobody tells of", { on: "moon.rose" }, "expected event to be one of entity.changed, "],
    ["an event after which nothing is left", { on: "entity.deleted" }, "there is no entity to read"],
    [
      "a type with a slip",
      { types: ["scene", "chaptr"] },
      "unknown source type chaptr, did you mean chapter?",
    ],
    ["a type that is none", { types: ["poem"] }, "expected source type to be one of story, chapter, "],
  ])("%s", async (_, pipeline, message) => {
    const root = await ownCheckout();

    await expect(create(root, pipeline)).rejects.toMatchObject({
      code: "INPUT_INVALID",
      message: expect.stringContaining(message),
    });
    expect(readdirSync(join(root, "graphs"))).toEqual(["base"]);
    expect(readFileSync(join(root, "langgraph.json"), "utf8")).toBe(registry);
  });

  test("a folder that is there", async () => {
    const root = await ownCheckout();
    await mkdir(join(root, "graphs/scene-weather"));

    await expect(create(root)).rejects.toThrow("is there already");
    expect(readdirSync(join(root, "graphs/scene-weather"))).toEqual([]);
  });

  test("a name that langgraph.json has", async () => {
    const root = await ownCheckout();
    await create(root);
    await rm(join(root, "graphs/base"), { recursive: true });
    await writeFile(
      join(root, "langgraph.json"),
      JSON.stringify({ graphs: { "scene-weather": "./graphs/scene-weather/pipeline.ts:default" } }),
    );

    await expect(create(root)).rejects.toThrow("names a pipeline scene-weather already");
  });

  test("a langgraph.json that cannot be read", async () => {
    const root = await ownCheckout();
    await writeFile(join(root, "langgraph.json"), '{"graphs": ');

    await expect(create(root)).rejects.toMatchObject({ code: "REGISTRY_INVALID" });
  });

  test("a folder that is no package, and says which one above is", async () => {
    const root = await project({ "package.json": {}, "notes/a.md": "" });

    await expect(create(await emptyFolder())).rejects.toThrow("npm init -y && npm install loregraph");
    await expect(create(join(root, "notes"))).rejects.toThrow(`did you mean to be in ${root}?`);
  });

  test("a package that has not installed Loregraph", async () => {
    await expect(create(await project({ "package.json": {} }))).rejects.toThrow(
      "run `npm install loregraph`",
    );
  });

  test("a package.json that cannot be read", async () => {
    await expect(create(await project({ "package.json": "{" }))).rejects.toThrow("cannot read");
  });
});

describe("in a project of one's own", () => {
  const read = (root: string, file: string) => readFileSync(join(root, file), "utf8");

  test("makes what is missing, and says so", async () => {
    const root = await project({ ...installed, "package.json": '{\n    "name": "lore"\n}\n' });

    const { did, install } = await create(root);

    expect(did).toEqual([
      expect.stringContaining('package.json now says "type": "module"'),
      expect.stringContaining("base ingestion"),
      expect.stringContaining("tsconfig.json"),
    ]);
    expect(install).toMatch(
      /^npm install @langchain\/core@[\d.]+ @langchain\/langgraph@[\d.]+ zod@[\d.]+ && npm install --save-dev vitest@[\d.]+$/,
    );
    expect(read(root, "package.json")).toBe('{\n    "name": "lore",\n    "type": "module"\n}\n');
    expect(JSON.parse(read(root, "langgraph.json")).graphs).toEqual({
      base: "./node_modules/loregraph/dist/graphs/base/pipeline.js:default",
      "scene-weather": "./graphs/scene-weather/pipeline.ts:default",
    });
  });

  test("imports the package, by one line a door", async () => {
    const root = await project({ ...installed, "package.json": { type: "module" } });
    await create(root);

    const ours = readdirSync(join(root, "graphs/scene-weather"))
      .flatMap((file) => read(root, `graphs/scene-weather/${file}`).split("\n"))
      .filter((line) => /from "(loregraph|\.\.)/.test(line));
    expect(ours).toEqual([
      'import { answerOf, fakeModel, readExamples } from "loregraph/testing";',
      'import { asker, Entity, findQuote, type Tools } from "loregraph";',
      'import { definePipeline } from "loregraph";',
      'import { enclosed } from "loregraph";',
    ]);
  });

  test("leaves alone what somebody chose", async () => {
    const files = {
      "package.json": '{ "type": "commonjs" }',
      "tsconfig.json": "{}",
      "langgraph.json": '{"graphs":{},"env":".env"}',
    };
    const root = await project({ ...installed, ...files });

    const { did } = await create(root);

    expect(did).toEqual([expect.stringContaining('your package.json stays "commonjs"')]);
    expect(read(root, "package.json")).toBe(files["package.json"]);
    expect(read(root, "tsconfig.json")).toBe("{}");
    expect(JSON.parse(read(root, "langgraph.json"))).toEqual({
      graphs: { "scene-weather": "./graphs/scene-weather/pipeline.ts:default" },
      env: ".env",
    });
    expect(JSON.parse(read(root, "graphs/package.json"))).toEqual({ private: true, type: "module" });
  });

  test("takes back the folder where langgraph.json cannot be written", async () => {
    const root = await project({ ...installed, "package.json": { type: "module" }, "tsconfig.json": "{}" });
    await mkdir(join(root, "langgraph.json"));

    await expect(create(root)).rejects.toThrow();
    expect(existsSync(join(root, "graphs/scene-weather"))).toBe(false);
  });
});

/** Runs a program of the project's node_modules, in the Node that runs the tests. Fails, with what it said, if it fails. */
async function npx(root: string, program: string, ...args: readonly string[]): Promise<string> {
  const path = `${dirname(process.execPath)}:${process.env.PATH}`;
  const env = { PATH: path, HOME: process.env.HOME, NO_COLOR: "1" };
  const command = promisify(execFile)(join(root, "node_modules/.bin", program), args, { cwd: root, env });
  const { stdout } = await command.catch((failed) => expect.fail(`${failed.stdout}${failed.stderr}`));
  return stdout;
}
