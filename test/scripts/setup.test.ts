import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { checkoutWith, installedRecord, lockOf, npmOnPath } from "../support/checkout.ts";
import { startProcess, type TestProcess } from "../support/process.ts";

let folder: string;

afterEach(() => rm(folder, { recursive: true }));

const calls = () => readFile(join(folder, "calls"), "utf8");
const install = `mkdir -p node_modules; cp package-lock.json ${installedRecord}`;

function setup(PATH: string): TestProcess {
  return startProcess(join(folder, "scripts/setup.js"), [], { env: { PATH }, cwd: "/" });
}

test("does nothing when everything is installed, optional packages of other systems aside", async () => {
  folder = await checkoutWith({
    [installedRecord]: JSON.stringify({ packages: { "node_modules/lore": { version: "1.0.0" } } }),
  });
  const path = await npmOnPath(folder, "exit 1");

  expect(await setup(path).finish()).toEqual({ code: 0, signal: null });
  expect(existsSync(join(folder, "calls"))).toBe(false);
});

test("installs what the lockfile names when nothing is there, and leaves the lockfile as it is", async () => {
  folder = await checkoutWith();
  expect(await setup(await npmOnPath(folder, install)).finish()).toEqual({ code: 0, signal: null });
  expect(await calls()).toBe("ci --no-audit --no-fund --loglevel=error\n");
});

test("installs when a package is there in another version", async () => {
  folder = await checkoutWith({ [installedRecord]: lockOf("0.9.0") });
  await setup(await npmOnPath(folder, install)).finish();
  expect(await calls()).toMatch(/^ci/);
});

test("lets one of two install while the other waits", async () => {
  folder = await checkoutWith();
  const path = await npmOnPath(
    folder,
    `until [ -e '${folder}/go' ] || ! [ -e '${folder}' ]; do sleep 0.02; done; ${install}`,
  );
  const [first, second] = [setup(path), setup(path)];
  await vi.waitUntil(() => /waiting for another process/.test(first.errors() + second.errors()));
  await writeFile(join(folder, "go"), "");

  expect(await Promise.all([first.finish(), second.finish()])).toEqual(
    Array(2).fill({ code: 0, signal: null }),
  );
  expect((await calls()).trim().split("\n")).toHaveLength(1);
});

test("takes over from an installation that was killed", async () => {
  folder = await checkoutWith();
  const gone = startProcess(join(folder, "scripts/setup.js"), [], { nodeArgs: ["--check"] });
  await gone.finish();
  await mkdir(join(folder, ".loregraph"));
  await writeFile(join(folder, ".loregraph/setup.lock"), String(gone.child.pid));

  await setup(await npmOnPath(folder, install)).finish();
  expect(await calls()).toMatch(/^ci/);
});

test("fails when npm fails", async () => {
  folder = await checkoutWith();
  const failing = setup(await npmOnPath(folder, "exit 5"));
  expect(await failing.finish()).toEqual({ code: 1, signal: null });
  expect(failing.errors()).toMatch(/npm ci .* failed: exit code 5/);
});
