import { mkdir, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { checkoutWith, installedRecord, linkNode, lockOf } from "../support/checkout.ts";
import { startProcess, type TestProcess } from "../support/process.ts";

/** Says its arguments, echoes stdin, notes SIGTERM and SIGINT, and ends as it is told. */
const main = `
const [ending = "0"]: string[] = process.argv.slice(2);
console.log(JSON.stringify({ args: process.argv.slice(2), argv1: process.argv[1], node: process.versions.node }));
if (ending.startsWith("SIG")) process.kill(process.pid, ending);
if (ending === "echo") process.stdin.pipe(process.stdout);
else if (ending === "wait") {
  setInterval(() => {}, 1000);
  for (const signal of ["SIGTERM", "SIGINT"]) process.on(signal, () => { console.log(signal); process.exit(7); });
  console.log("ready");
} else process.exitCode = Number(ending);
`;

/** Makes a Node of the tests' version say that it is another one. */
const pretendToBe = (version: string) => [
  "--import",
  `data:text/javascript,Object.defineProperty(process,"versions",{value:{...process.versions,node:"${version}"}})`,
];

let folder: string;

afterEach(() => rm(folder, { recursive: true }));

async function checkout(): Promise<void> {
  folder = await checkoutWith({ "src/cli/main.ts": main, [installedRecord]: lockOf("1.0.0") });
  await linkNode(folder);
}

function launch(args: readonly string[], version: string): TestProcess {
  return startProcess(join(folder, "bin/loregraph.js"), args, { nodeArgs: pretendToBe(version) });
}

for (const version of ["20.11.0", "24.0.0"]) {
  test(`runs the sources of a checkout under Node ${version}`, async () => {
    await checkout();
    const launched = launch(["3", "--flag", "a b"], version);
    const said = JSON.parse(await launched.line());

    expect(said).toMatchObject({ args: ["3", "--flag", "a b"], argv1: join(folder, "src/cli/main.ts") });
    expect(await launched.finish()).toEqual({ code: 3, signal: null });
  });

  test(`passes SIGTERM, SIGINT and stdin on under Node ${version}`, async () => {
    await checkout();
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const launched = launch(["wait"], version);
      await launched.line();
      await launched.line();
      expect(await launched.kill(signal)).toEqual({ code: 7, signal: null });
      expect(await launched.line()).toBe(signal);
    }
    const echo = launch(["echo"], version);
    await echo.line();
    echo.child.stdin.write("hello\n");
    expect(await echo.line()).toBe("hello");
    expect(await echo.finish()).toEqual({ code: 0, signal: null });
  });

  test(`dies of the signal that its command died of under Node ${version}`, async () => {
    await checkout();
    expect(await launch(["SIGKILL"], version).finish()).toEqual({ code: null, signal: "SIGKILL" });
  });
}

test("ends with the shell that npx ran it in, to which alone npx passes SIGTERM", async () => {
  await checkout();
  const shell = `
    import { spawn } from "node:child_process";
    const env = { ...process.env, npm_command: "exec" };
    spawn(process.execPath, ["bin/loregraph.js", "wait"], { stdio: "inherit", env });`;
  await writeFile(join(folder, "shell.js"), shell);
  const npx = startProcess(join(folder, "shell.js"), [], { cwd: folder });
  await npx.line();
  await npx.line();
  npx.child.kill("SIGTERM");
  expect(await npx.line()).toBe("SIGTERM");
});

test("runs the sources in the Node that the project brings, where its own is too old", async () => {
  await checkout();
  const said = JSON.parse(await launch([], "20.11.0").line());
  expect(said.node).toBe(process.versions.node);
});

test("says what to do where that Node is missing", async () => {
  await checkout();
  await rm(join(folder, "node_modules/node"), { recursive: true });
  const launched = launch([], "20.11.0");
  expect(await launched.finish()).toEqual({ code: 1, signal: null });
  await expect(launched.line()).rejects.toThrow("run `npm rebuild node`, or use Node 24 or newer");
});

const published = { "dist/src/cli/main.js": "console.log(JSON.stringify(process.argv.slice(2)))" };

test("runs the built file of the published package", async () => {
  folder = await checkoutWith(published);
  const launched = launch(["--help"], "24.0.0");
  expect(JSON.parse(await launched.line())).toEqual(["--help"]);
  expect(await launched.finish()).toEqual({ code: 0, signal: null });
});

test("asks for a newer Node where the published package finds an old one", async () => {
  folder = await checkoutWith(published);
  const launched = launch([], "22.4.0");
  expect(await launched.finish()).toEqual({ code: 1, signal: null });
  await expect(launched.line()).rejects.toThrow("loregraph needs Node 24 or newer; this is Node 22.4.0");
  expect(launched.errors()).toContain("npm install --save-dev node@24");
});

test("runs the built file, not the sources, below another project's node_modules", async () => {
  const outer = await checkoutWith({ ...published, "src/cli/main.ts": "throw new Error('the sources ran')" });
  folder = `${outer}-project`;
  await mkdir(join(folder, "node_modules"), { recursive: true });
  await rename(outer, join(folder, "node_modules/loregraph"));
  const launched = startProcess(join(folder, "node_modules/loregraph/bin/loregraph.js"), ["x"]);
  expect(JSON.parse(await launched.line())).toEqual(["x"]);
  await launched.finish();
});
