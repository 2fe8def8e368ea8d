import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { codeOf } from "../src/fingerprint.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "loregraph-code-"));
  await write("pipeline.ts", "export default 1;\n");
  await write("rules/words.ts", "export const words = [];\n");
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function write(path: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, path)), { recursive: true });
  await writeFile(join(folder, path), text);
}
const code = () => codeOf(join(folder, "pipeline.ts"));

test("names the source files of the folder and of those below it", () => {
  expect(code()).toEqual({
    folder,
    fingerprint: expect.stringMatching(/^ts-[0-9a-f]{64}$/),
    files: {
      "pipeline.ts": expect.stringMatching(/^[0-9a-f]{64}$/),
      "rules/words.ts": expect.stringMatching(/^[0-9a-f]{64}$/),
    },
  });
});

describe("stays the same", () => {
  test("wherever the folder lies, and under other line endings", async () => {
    const before = code();
    const elsewhere = await mkdtemp(join(tmpdir(), "loregraph-code-"));
    await cp(folder, elsewhere, { recursive: true });
    await writeFile(join(elsewhere, "rules/words.ts"), "\uFEFFexport const words = [];\r\n");

    expect(codeOf(join(elsewhere, "pipeline.ts"))).toEqual({ ...before, folder: elsewhere });
    await rm(elsewhere, { recursive: true });
  });

  test.each([
    "graph.test.ts",
    "rules/words.spec.ts",
    "pipeline.d.ts",
    "examples.jsonl",
    "examples.ts",
    "test/doubles.ts",
    "node_modules/left/index.js",
    ".cache/x.ts",
    "README.md",
  ])("whatever %s says", async (path) => {
    const before = code();
    await write(path, "something");

    expect(code()).toEqual(before);
  });
});

describe("is another", () => {
  test.each([
    ["a file changes", "rules/words.ts", "export const words = [1];\n"],
    ["a comment does", "pipeline.ts", "export default 1; // one\n"],
    ["a file is added", "rules/more.ts", ""],
    ["a module of another kind is", "shared.mjs", ""],
  ])("where %s", async (_, path, text) => {
    const before = code();
    await write(path, text);

    expect(code().fingerprint).not.toBe(before.fingerprint);
  });

  test("where a file has another name, or lies elsewhere", async () => {
    const before = code();
    await rm(join(folder, "rules"), { recursive: true });
    await write("words.ts", "export const words = [];\n");

    expect(code().fingerprint).not.toBe(before.fingerprint);
  });

  test("for what was built, and says so", async () => {
    await write("pipeline.js", "export default 1;\n");

    expect(codeOf(join(folder, "pipeline.js")).fingerprint).toMatch(/^js-/);
  });
});

test("is that of the module alone where it lies beside langgraph.json", async () => {
  await write("langgraph.json", "{}");
  const before = code();
  await write("rules/words.ts", "export const words = [1];\n");

  expect(code()).toEqual(before);
  expect(Object.keys(before.files)).toEqual(["pipeline.ts"]);
});
