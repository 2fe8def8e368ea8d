import { execFile } from "node:child_process";
import { readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { emptyFolder, run } from "../support/cli.ts";

const text = "Chapter 1\n\nThe keeper walked the wall. “Is it you?” said Mara.\n\n“It is,” said Tom.\n";

let folder: string;

beforeAll(async () => {
  folder = await emptyFolder();
  await writeFile(join(folder, "weir.txt"), text);
  await writeFile(join(folder, "dam.txt"), text.replace("Mara", "Ida"));
  await writeFile(join(folder, "scan.pdf"), "%PDF-1.7");
});

afterAll(() => rm(folder, { recursive: true }));

test("prints one object a line for each file, and needs no database", async () => {
  const said = await run(["inspect", "weir.txt", "dam.txt", "--json"], {}, folder);
  const [weir, dam, end] = said.out.split("\n");

  expect(said).toMatchObject({ code: 0, err: "" });
  expect(end).toBe("");
  expect(JSON.parse(weir ?? "")).toEqual({
    file: "weir.txt",
    encoding: "utf-8",
    notes: [],
    characters: text.length,
    kind: "dialogue",
    language: expect.toBeOneOf(["en", null]),
    title: "",
    author: null,
    chapters: [{ title: "Chapter 1", start: 0, end: text.length - 1, scenes: 1 }],
    dialogue: [
      { start: 39, end: 51, speaker: "Mara" },
      { start: 64, end: 72, speaker: "Tom" },
    ],
    chunks: [
      {
        path: "weir > Chapter 1",
        start: 11,
        end: text.length - 1,
        tokens: expect.any(Number),
        content_kind: expect.stringMatching(/^(dialogue|narration|mixed)$/),
      },
    ],
  });
  expect(JSON.parse(dam ?? "").dialogue[0].speaker).toBe("Ida");
  expect(await readdir(folder)).toEqual(["dam.txt", "scan.pdf", "weir.txt"]);
});

test("shows people who says what, on lines of a terminal's width", async () => {
  const { out } = await run(["inspect", "weir.txt"], {}, folder);
  expect(out).toContain("  39    51  Mara     “Is it you?”\n");
  for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(80);
});

test("shows the others where one file cannot be read, and ends with 3", async () => {
  const said = await run(["inspect", "gone.txt", "scan.pdf", "weir.txt", "--json"], {}, folder);
  const [gone, scan, weir] = said.out.split("\n");

  expect(said.code).toBe(3);
  expect(JSON.parse(gone ?? "")).toMatchObject({ file: "gone.txt", error: { code: "FILE_UNREADABLE" } });
  expect(JSON.parse(scan ?? "").error.message).toContain("a PDF");
  expect(JSON.parse(weir ?? "")).toMatchObject({ file: "weir.txt", characters: text.length });
  expect(said.err).toMatch(/^error: gone\.txt: .*\nerror: scan\.pdf: .*\n$/);
});

test("ends with 2 where no file can be read", async () => {
  expect(await run(["inspect", "scan.pdf"], {}, folder)).toMatchObject({ code: 2, out: "" });
});

test("ends well where its reader has seen enough", async () => {
  const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
  const many = Array.from({ length: 2_000 }, () => "weir.txt").join(" ");
  const command = `set -o pipefail; "${process.execPath}" "${main}" inspect --json ${many} | head -n 1`;
  const { stdout, stderr } = await promisify(execFile)("bash", ["-c", command], { cwd: folder });

  expect(JSON.parse(stdout)).toMatchObject({ file: "weir.txt" });
  expect(stderr).toBe("");
});
