import { execFileSync } from "node:child_process";
import { existsSync, globSync, readFileSync } from "node:fs";
import { isBuiltin } from "node:module";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { errorCodes } from "../src/errors.ts";
import { loadRegistry } from "../src/registry.ts";
import { findCycle, type Import, type Module, modulesOf, parseModule } from "./support/modules.ts";

type Room = {
  /** The files of the room itself may always import each other. */
  readonly mayImport: readonly string[];
  /** What it may name in types only. */
  readonly mayImportTypes?: readonly string[];
  /** What it may import once it runs, but not to be loaded. */
  readonly mayImportLazily?: readonly string[];
};

/** What every room may import: the contract, the errors, and the hash by which content is known. */
const contract = ["src/pipeline.ts", "src/errors.ts", "src/hash.ts"];

/** The rooms and what they may import beside packages: docs/architecture.md, section 3. */
const rooms: Readonly<Record<string, Room>> = {
  // The ground that everything stands on.
  "src/errors.ts": { mayImport: [] },
  "src/hash.ts": { mayImport: [] },
  "src/own-file.ts": { mayImport: [] },
  "src/pause.ts": { mayImport: [] },
  "src/sound.ts": { mayImport: ["src/errors.ts"] },
  "src/pipeline.ts": { mayImport: ["src/errors.ts", "src/sound.ts"], mayImportLazily: ["src/studio.ts"] },
  "src/config.ts": { mayImport: ["src/errors.ts"] },
  "src/db.ts": { mayImport: ["src/errors.ts"] },

  // What researchers write.
  graphs: { mayImport: ["src/pipeline.ts", "src/errors.ts", "src/content", "src/ask.ts"] },

  // Each knows the contract, the database at most, and none of the others.
  "src/content": { mayImport: contract },
  "src/ask.ts": { mayImport: [...contract, "src/strict.ts"] },
  "src/strict.ts": { mayImport: contract },
  "src/sources": { mayImport: [...contract, "src/content"] },
  "src/telemetry": { mayImport: contract },
  "src/models": { mayImport: [...contract, "src/db.ts"], mayImportTypes: ["src/config.ts"] },
  "src/ledger": { mayImport: [...contract, "src/db.ts"] },
  "src/keys": { mayImport: [...contract, "src/db.ts"] },
  "src/store": { mayImport: [...contract, "src/db.ts"] },
  "src/postgres": { mayImport: [...contract, "src/db.ts", "src/config.ts", "src/own-file.ts"] },
  checkpoints: { mayImport: [...contract, "src/db.ts"] },
  "src/fingerprint.ts": { mayImport: contract },
  "src/code-place.ts": { mayImport: [] },
  "src/triggers.ts": { mayImport: [...contract, "src/sources"] },
  "src/registry.ts": {
    mayImport: [
      ...contract,
      "src/code-place.ts",
      "src/fingerprint.ts",
      "src/ledger/tried.ts",
      "src/triggers.ts",
    ],
  },
  "src/router.ts": { mayImport: [...contract, "src/ledger/tried.ts"], mayImportTypes: ["src/ledger"] },

  // What joins them: events to runs, content to events, runs to answers.
  "src/publish.ts": {
    mayImport: [...contract, "src/db.ts", "src/ledger", "src/registry.ts", "src/router.ts", "src/store"],
  },
  "src/intake.ts": {
    mayImport: [
      ...contract,
      "checkpoints",
      "src/db.ts",
      "src/ledger",
      "src/publish.ts",
      "src/registry.ts",
      "src/store",
    ],
    mayImportTypes: ["src/router.ts"],
  },
  "src/import.ts": {
    mayImport: [
      ...contract,
      "src/content",
      "src/db.ts",
      "src/intake.ts",
      "src/registry.ts",
      "src/sources",
      "src/store",
    ],
  },
  "src/inspect.ts": { mayImport: [...contract, "src/content", "src/sources"] },
  "src/worker": {
    mayImport: [
      ...contract,
      "src/pause.ts",
      "checkpoints",
      "src/db.ts",
      "src/ledger",
      "src/models",
      "src/publish.ts",
      "src/registry.ts",
      "src/router.ts",
      "src/store",
      "src/telemetry",
    ],
  },
  "src/sync.ts": {
    mayImport: [...contract, "src/db.ts", "src/intake.ts", "src/registry.ts", "src/sources", "src/store"],
    mayImportTypes: ["src/telemetry"],
  },
  "src/webhooks": {
    mayImport: [
      ...contract,
      "src/db.ts",
      "src/ledger",
      "src/publish.ts",
      "src/registry.ts",
      "src/store",
      "src/worker",
    ],
    mayImportTypes: ["src/config.ts", "src/telemetry"],
  },
  "src/reingest": {
    mayImport: [
      ...contract,
      "src/pause.ts",
      "src/content",
      "src/db.ts",
      "src/intake.ts",
      "src/ledger",
      "src/models",
      "src/publish.ts",
      "src/registry.ts",
      "src/router.ts",
      "src/sources",
      "src/store",
      "src/telemetry",
    ],
  },
  "src/rollouts": {
    mayImport: [
      ...contract,
      "src/db.ts",
      "src/ledger",
      "src/publish.ts",
      "src/registry.ts",
      "src/router.ts",
      "src/store",
    ],
  },
  "src/versions": {
    mayImport: [...contract, "src/db.ts", "src/models", "src/store"],
    mayImportTypes: ["src/telemetry"],
  },
  "src/runtime.ts": {
    mayImport: [
      ...contract,
      "src/pause.ts",
      "src/db.ts",
      "src/ledger",
      "src/registry.ts",
      "src/reingest",
      "src/rollouts",
      "src/sources",
      "src/store",
      "src/telemetry",
      "src/versions",
      "src/webhooks",
      "src/worker",
    ],
    mayImportTypes: ["src/config.ts", "src/models"],
  },

  // What tries and measures graphs.
  "src/try": { mayImport: [...contract, "src/models", "src/registry.ts", "src/worker"] },
  "src/eval": {
    mayImport: [
      ...contract,
      "src/ask.ts",
      "src/content",
      "src/db.ts",
      "src/models",
      "src/pause.ts",
      "src/store",
      "src/try",
    ],
  },

  // The doors.
  "src/http": {
    mayImport: [
      ...contract,
      "src/db.ts",
      "src/intake.ts",
      "src/keys",
      "src/ledger",
      "src/models",
      "src/own-file.ts",
      "src/postgres",
      "src/registry.ts",
      "src/reingest",
      "src/sources",
      "src/store",
      "src/webhooks",
    ],
    mayImportTypes: ["src/config.ts", "src/telemetry"],
  },
  "src/forks": {
    mayImport: [
      ...contract,
      "checkpoints",
      "src/db.ts",
      "src/ledger",
      "src/registry.ts",
      "src/store",
      "src/worker",
    ],
    mayImportTypes: ["src/models"],
  },
  "src/studio-server": {
    mayImport: [
      ...contract,
      "checkpoints",
      "src/db.ts",
      "src/forks",
      "src/http",
      "src/ledger",
      "src/models",
      "src/registry.ts",
      "src/store",
    ],
    mayImportTypes: ["src/telemetry"],
  },
  "src/studio.ts": {
    mayImport: [...contract, "src/config.ts", "src/db.ts", "src/models", "src/postgres", "src/worker"],
  },
  // What `new` writes: a graph as any other. Before its folder's own row, so that it is found first.
  "src/new/template": { mayImport: ["src/pipeline.ts", "src/ask.ts", "src/content"] },
  "src/new": {
    mayImport: [
      ...contract,
      "src/own-file.ts",
      "src/registry.ts",
      "src/sources/nearest.ts",
      "src/triggers.ts",
    ],
  },
  "src/testing.ts": { mayImport: [...contract, "src/eval", "src/models", "src/worker"] },
  "src/cli": { mayImport: ["src", "checkpoints"] },
  "src/index.ts": { mayImport: ["src", "checkpoints"] },
};

const ours = modulesOf("{src,graphs,checkpoints}/**/*.ts").filter(({ path }) => !path.endsWith(".test.ts"));
const { dependencies } = z
  .object({ dependencies: z.record(z.string(), z.string()) })
  .parse(JSON.parse(readFileSync("package.json", "utf8")));

describe("the rooms", () => {
  test("hold every source file", () => {
    expect(ours.length).toBeGreaterThan(100);
    expect(ours.map(({ path }) => path).filter((path) => roomOf(path) === undefined)).toEqual([]);
  });

  test("import only what the table lets them", () => {
    expect(ours.flatMap(strayImports)).toEqual([]);
  });

  test("have strays named", () => {
    const source = `
      import { Worker } from "../worker/worker.ts";
      import type { Log } from "../telemetry/log.ts";
      export { route } from "../router.ts";
      export const later = () => import("../studio.ts");
      export type Config = import("../config.ts").Config;
      import { execute } from "../db.ts";`;
    const rule = "src/store may import src/pipeline.ts, src/errors.ts, src/hash.ts, src/db.ts";

    expect(strayImports(parseModule("src/store/stray.ts", source)).toSorted()).toEqual([
      `src/store/stray.ts imports ../config.ts: ${rule}`,
      `src/store/stray.ts imports ../router.ts: ${rule}`,
      `src/store/stray.ts imports ../studio.ts: ${rule}`,
      `src/store/stray.ts imports ../telemetry/log.ts: ${rule}`,
      `src/store/stray.ts imports ../worker/worker.ts: ${rule}`,
    ]);
  });

  test("keep graphs apart from each other", () => {
    const [stray] = strayImports(parseModule("graphs/one/graph.ts", `import "../two/graph.ts"`));

    expect(stray).toMatch(/^graphs\/one\/graph.ts imports ..\/two\/graph.ts: graphs may import/);
  });

  test("need no file to load itself", () => {
    expect(findCycle(ours)).toBeUndefined();
  });

  test("have a cycle found", () => {
    const one = parseModule("src/one.ts", `import { two } from "./two.ts"`);
    const two = parseModule("src/two.ts", `export * from "./one.ts"`);

    expect(findCycle([one, two])).toEqual(["src/one.ts", "src/two.ts"]);
  });

  test("import only the packages that users of the published package get", () => {
    const packages = ours.flatMap(({ path, imports }) =>
      imports
        .filter((each) => each.target !== undefined && !isFile(each) && !isBuiltin(each.written))
        .map(({ written }) => ({ path, name: packageOf(written) })),
    );

    expect(packages.length).toBeGreaterThan(50);
    expect(packages.filter(({ name }) => !(name in dependencies))).toEqual([]);
  });
});

test("only src/config.ts reads the environment", () => {
  expect(ours.filter(({ readsEnvironment }) => readsEnvironment).map(({ path }) => path)).toEqual([
    "src/config.ts",
  ]);
});

test("only src/registry.ts imports what the source does not name", () => {
  const computing = ours.filter(({ imports }) => imports.some(({ target }) => target === undefined));

  expect(computing.map(({ path }) => path)).toEqual(["src/registry.ts"]);
});

test("every error code is raised somewhere", () => {
  // Some are written by SQL, so that a name in either kind of quotes counts.
  const written = ours
    .filter(({ path }) => path !== "src/errors.ts")
    .map(({ path }) => readFileSync(path, "utf8"))
    .join("\n");
  const isNamed = (code: string) => written.includes(`"${code}"`) || written.includes(`'${code}'`);

  expect(Object.keys(errorCodes).filter((code) => !isNamed(code))).toEqual([]);
});

test("no source file is longer than 400 lines", () => {
  expect(ours.filter(({ lines }) => lines > 400).map(({ path, lines }) => `${path}: ${lines}`)).toEqual([]);
});

test("every migration opens with why", () => {
  const files = globSync("migrations/*").sort();

  expect(files.length).toBeGreaterThan(0);
  for (const [at, file] of files.entries()) {
    expect(file).toMatch(new RegExp(`/${String(at + 1).padStart(4, "0")}_[a-z_]+\\.sql$`));
    expect(readFileSync(file, "utf8"), file).toMatch(/^-- Why: \w+/);
  }
});

test("langgraph.json names every graph folder, and each has a pipeline, a graph, its shapes, examples and a test", async () => {
  const registry = await loadRegistry("langgraph.json");
  const folders = globSync("graphs/*").map((path) => path.replaceAll("\\", "/"));

  expect(folders.toSorted()).toEqual([...registry.keys()].map((name) => `graphs/${name}`).toSorted());
  const files = ["pipeline.ts", "graph.ts", "schema.ts", "graph.test.ts", "examples.jsonl"];
  const missing = folders
    .flatMap((folder) => files.map((file) => `${folder}/${file}`))
    .filter((file) => !existsSync(file));
  expect(missing).toEqual([]);
});

/** What the ecosystem expects stands beside the fixed part. */
const topLevel = [
  "package.json tsconfig.json langgraph.json README.md src graphs checkpoints migrations test",
  "CHANGELOG.md CONTRIBUTING.md LICENSE package-lock.json .gitignore .npmrc .ci bench bin docs examples scripts",
  "biome.json knip.json tsconfig.build.json vitest.config.ts",
].flatMap((names) => names.split(" "));

test.skipIf(!existsSync(".git"))("the top level holds what it is meant to hold", () => {
  const files = execFileSync("git", ["-c", "safe.directory=*", "ls-files"], { encoding: "utf8" }).split("\n");
  const entries = new Set(files.filter(Boolean).map((path) => path.split("/")[0]));

  expect(entries.size).toBeGreaterThan(5);
  expect([...entries].filter((entry) => !topLevel.includes(entry ?? ""))).toEqual([]);
});

function strayImports(module: Module): readonly string[] {
  const room = roomOf(module.path) ?? "";
  const { mayImport = [], mayImportTypes = [], mayImportLazily = [] } = rooms[room] ?? {};
  const allowed = {
    value: mayImport,
    type: [...mayImport, ...mayImportTypes],
    lazy: [...mayImport, ...mayImportLazily],
  };
  return module.imports
    .filter(isFile)
    .filter(
      ({ target = "", kind }) =>
        !within(homeOf(module.path), target) && !allowed[kind].some((other) => within(other, target)),
    )
    .map(
      ({ written }) =>
        `${module.path} imports ${written}: ${room} may import ${mayImport.join(", ") || "nothing"}`,
    );
}

/** The room that a file is of: the row of the table that is the file, or a folder above it. */
function roomOf(path: string): string | undefined {
  return Object.keys(rooms).find((room) => within(room, path));
}

/** The files that a file may always import: those of its room, or of its own graph. */
function homeOf(path: string): string {
  const [room = "", graph = ""] = path.split("/");
  return room === "graphs" ? `graphs/${graph}` : (roomOf(path) ?? path);
}

function within(room: string, path: string): boolean {
  return path === room || path.startsWith(`${room}/`);
}

/** Files are imported by relative paths, packages by name. */
function isFile({ written }: Import): boolean {
  return written.startsWith(".");
}

/** The package of a specifier: its first part, or its first two where it is scoped. */
function packageOf(specifier: string): string {
  return specifier.split("/", specifier.startsWith("@") ? 2 : 1).join("/");
}
