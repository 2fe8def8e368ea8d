import { readFile } from "node:fs/promises";
import { posix } from "node:path";
import { fileURLToPath } from "node:url";
import pLimit from "p-limit";
import { describe, expect, test } from "vitest";
import { exitCodes } from "../../src/cli/exit-codes.ts";
import { run } from "../support/cli.ts";
import { type Module, modulesOf } from "../support/modules.ts";

const fileOf = (name: string) => readFile(fileURLToPath(new URL(`../../${name}`, import.meta.url)), "utf8");
const names = [
  "demo import sync new inspect up worker serve keys reingest pause resume status runs checkpoints",
  "dead-letters show search try eval graph db migrate studio fork check rollout diff answer",
  "explain cost budget",
].flatMap((line) => line.split(" "));
/** Commands of commands: they have an example, and their own have `--json`. */
const groups = ["budget", "db", "fork", "dead-letters", "keys"];

test("without arguments, and with --help, says what there is", async () => {
  const [bare, help] = await Promise.all([run([], {}), run(["--help"], {})]);
  expect(bare).toEqual(help);
  expect(help.code).toBe(0);
  for (const name of names) expect(help.out).toMatch(new RegExp(`^ {2}${name} `, "m"));
});

test("--version is the package's", async () => {
  const { version } = JSON.parse(await fileOf("package.json"));
  expect(await run(["--version"], {})).toEqual({ code: 0, out: `${version}\n`, err: "" });
});

test("every command's --help shows an example that can be typed", async () => {
  const few = pLimit(4);
  const helps = await Promise.all(names.map((name) => few(() => run([name, "--help"], {}))));
  for (const [nth, { code, out }] of helps.entries()) {
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`\n\nExample:\n {2}npx loregraph ${names[nth]}\\b`));
    if (!groups.includes(names[nth] ?? "")) expect(out).toContain("--json");
  }
}, 120_000); // a process for each, on a machine that may be busy

test("docs/cli.md has the same commands and exit codes", async () => {
  const page = await fileOf("docs/cli.md");
  const rows = [...page.matchAll(/^\| (\S+)/gm)].flatMap(([, first = ""]) =>
    first.replaceAll("`", "").split("\\|"),
  );
  const commands = new Set(
    rows.filter((row) => /^[a-z-]+$/.test(row) && row !== "---" && row !== "code" && row !== "command"),
  );
  expect([...commands].toSorted()).toEqual(names.toSorted());
  expect(rows.filter((row) => /^\d+$/.test(row)).map(Number)).toEqual(Object.values(exitCodes));
});

describe("what is typed wrongly", () => {
  test.each([
    ["a command", ["stauts"], "(Did you mean status?)"],
    ["a command of db", ["db", "strat"], "(Did you mean start?)"],
    ["an option", ["status", "--tenat", "x"], "(Did you mean --tenant?)"],
    ["a pipeline", ["graph", "bsae"], "did you mean base?"],
    ["a number", ["runs", "--limit", "few"], "expected --limit to be a whole number from 1 on, got: few"],
    ["a status", ["runs", "--status", "faild"], "Allowed choices are pending, running, waiting"],
    ["a tenant", ["status", "--tenant", "me"], "expected --tenant to be a uuid, got: me"],
    ["an argument too many", ["show", "a", "b"], "too many arguments"],
    ["a list of nothing", ["worker", "--pipelines", ","], "expected --pipelines to be names"],
  ])("%s: ends with 2 and says so", async (_, args, said) => {
    expect(await run(args, {})).toMatchObject({ code: 2, out: "", err: expect.stringContaining(said) });
  });

  test("a setting: ends with 2 and names it, without its value", async () => {
    const said = await run(["status"], { DATABASE_URL: "mysql://me:tide-table@here/lore" });
    expect(said).toMatchObject({ code: 2, out: "", err: expect.stringContaining("DATABASE_URL") });
    expect(said.err).not.toContain("tide-table");
  });
});

describe("starts quickly:", () => {
  const modules = new Map(modulesOf("src/**/*.ts").map((module) => [module.path, module]));

  test("help loads nothing but the parser of commands", () => {
    expect(packagesOf("src/cli/main.ts")).toEqual(["@commander-js/extra-typings"]);
  });

  test.each(["inspect", "status", "runs", "show", "search", "db", "migrate"])(
    "%s loads no graphs",
    (name) => {
      const heavy = packagesOf(`src/cli/commands/${name}.ts`).filter((found) =>
        /langchain|openai/.test(found),
      );
      expect(heavy).toEqual([]);
    },
  );

  /** The packages that a file needs before it runs, through whichever files. */
  function packagesOf(path: string): readonly string[] {
    const reached = new Set<string>();
    const reach = (at: string): readonly string[] => {
      const module: Module | undefined = modules.get(at);
      if (!module) return at.startsWith("node:") ? [] : [at];
      if (reached.has(at)) return [];
      reached.add(at);
      return module.imports
        .filter(({ kind }) => kind === "value")
        .flatMap(({ target }) => (target ? reach(posix.normalize(target)) : []));
    };
    return [...new Set(reach(path))].toSorted();
  }
});
