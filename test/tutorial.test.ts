/** docs/tutorial.md, command by command, as somebody with a fresh checkout would type them. */

import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdtemp, readdir, readFile, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { applyPatch, parsePatch } from "diff";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type TestDatabase, testDatabase } from "./support/database.ts";

const checkout = resolve(import.meta.dirname, "..");
const page = await readFile(join(checkout, "docs/tutorial.md"), "utf8");

type Step =
  | { readonly kind: "command"; readonly command: string; readonly says: readonly string[] }
  | { readonly kind: "change"; readonly patch: string };

/** What a reader does, in the order of the page: commands with what they say, and changes of files. */
const steps: readonly Step[] = [...page.matchAll(/^```(console|diff)\n([\s\S]*?)^```$/gm)].flatMap(
  ([, kind, block = ""]) =>
    kind === "diff" ? [{ kind: "change", patch: block } as const] : commandsOf(block),
);

function commandsOf(block: string): readonly Step[] {
  return block
    .split(/^\$ /m)
    .filter((part) => part !== "")
    .map((part) => {
      const [command = "", ...says] = part.trimEnd().split("\n");
      return { kind: "command", command, says };
    });
}

let root: string;
let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
  root = await realpath(await mkdtemp(join(tmpdir(), "loregraph-tutorial-")));
  const left = ["node_modules", "dist", ".git", ".loregraph"];
  for (const name of (await readdir(checkout)).filter((name) => !left.includes(name)))
    await cp(join(checkout, name), join(root, name), { recursive: true });
  await symlink(join(checkout, "node_modules"), join(root, "node_modules"));
}, 60_000);
afterAll(() => rm(root, { recursive: true, force: true }));

/** On the clock, and of the processor, which does not count who else is busy on this machine. */
const took: { readonly command: string; readonly seconds: number; readonly processor: number }[] = [];

test.each(steps.map((step, at) => ({ step, title: `${at + 1}. ${titleOf(step)}` })))(
  "$title",
  async ({ step }) => {
    if (step.kind === "change") return await apply(step.patch);
    const began = performance.now();
    const { said, processor } = await type(step.command);
    took.push({ command: step.command, seconds: (performance.now() - began) / 1_000, processor });
    for (const line of step.says) expect(said).toContain(line);
  },
  600_000,
);

test("from `new` to the first output on a real text are four commands and under two minutes, without a key", () => {
  const [first = []] = [...page.matchAll(/^```console\n([\s\S]*?)^```$/gm)].map(([, block = ""]) =>
    commandsOf(block),
  );
  const seconds = took.slice(0, first.length).reduce((sum, each) => sum + each.processor, 0);
  console.log(
    took
      .map((t) => `${t.seconds.toFixed(1)} s, processor ${t.processor.toFixed(1)} s: ${t.command}`)
      .join("\n"),
  );

  expect(first).toHaveLength(4);
  expect(first[0]).toMatchObject({ command: expect.stringMatching(/^npx loregraph new /) });
  expect(first[3]).toMatchObject({ says: expect.arrayContaining([expect.stringContaining("ferry")]) });
  expect(page).not.toMatch(/^\$ .*OPENAI_/m);
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThan(120);
});

function titleOf(step: Step): string {
  return step.kind === "command" ? step.command : (parsePatch(step.patch)[0]?.newFileName ?? "");
}

type Typed = { readonly said: string; readonly processor: number };

/** Types one command into a shell. Fails, with all that it said, where it fails. */
async function type(command: string): Promise<Typed> {
  const path = `${dirname(process.execPath)}:${process.env.PATH}`;
  const env = { PATH: path, HOME: process.env.HOME, NO_COLOR: "1", DATABASE_URL: database.url };
  const child = spawn("sh", ["-c", `${command} && times >times.txt`], {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let said = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text) => {
      said += text;
    });
  const [code] = await once(child, "close");
  expect(code, said).toBe(0);
  return { said, processor: processorSeconds(await readFile(join(root, "times.txt"), "utf8")) };
}

/** What the shell's children used, as POSIX has `times` write it: two lines of minutes and seconds. */
function processorSeconds(times: string): number {
  const [, children = ""] = times.split("\n");
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)].reduce(
    (sum, [, m, s]) => sum + Number(m) * 60 + Number(s),
    0,
  );
}

async function apply(patch: string): Promise<void> {
  const file = join(root, (parsePatch(patch)[0]?.newFileName ?? "").replace(/^b\//, ""));
  const changed = applyPatch(await readFile(file, "utf8"), patch);
  if (changed === false) throw new Error(`${file} is not what the tutorial changes`);
  await writeFile(file, changed);
}
