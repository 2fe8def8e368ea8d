import { chmod, cp, mkdir, mkdtemp, realpath, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const project = fileURLToPath(new URL("../..", import.meta.url));

/** A folder with the project's own scripts and launcher, a lockfile of one package, and `files` (path to text). */
export async function checkoutWith(files: Record<string, string> = {}): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "loregraph-checkout-")));
  for (const name of ["scripts/setup.js", "bin/loregraph.js"])
    await cp(join(project, name), join(folder, name));
  const all = { "package.json": '{ "type": "module" }', "package-lock.json": lockOf("1.0.0"), ...files };
  for (const [name, text] of Object.entries(all)) await put(folder, name, text);
  return folder;
}

/** The lockfile, or npm's record of what it installed, of the one package `lore`. */
export function lockOf(version: string): string {
  const optional = { version: "1.0.0", optional: true };
  return JSON.stringify({
    packages: { "": {}, "node_modules/lore": { version }, "node_modules/other-os": optional },
  });
}

export const installedRecord = "node_modules/.package-lock.json";

/** Makes the folder's own Node, which the launcher prefers to an old one, the one that runs the tests. */
export async function linkNode(folder: string): Promise<void> {
  await mkdir(join(folder, "node_modules/node/bin"), { recursive: true });
  await symlink(process.execPath, join(folder, "node_modules/node/bin/node"));
}

/** An `npm` that notes each call in `calls` and installs the package. Answers the PATH on which it is found. */
export async function npmOnPath(folder: string, script: string): Promise<string> {
  await put(folder, "path/npm", `#!/bin/sh\necho "$@" >> '${folder}/calls'\n${script}\n`);
  await chmod(join(folder, "path/npm"), 0o755);
  return `${join(folder, "path")}:${process.env.PATH}`;
}

async function put(folder: string, name: string, text: string): Promise<void> {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
}
