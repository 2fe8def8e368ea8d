import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { chmod, cp, mkdir, mkdtemp, readdir, realpath, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { z } from "zod";

const checkout = resolve(import.meta.dirname, "../..");

const Lockfile = z.object({
  packages: z.record(z.string(), z.object({ dev: z.boolean(), devOptional: z.boolean() }).partial()),
});
const readJson = (file: string): unknown => JSON.parse(readFileSync(join(checkout, file), "utf8"));

/** A folder of somebody's own that has installed the package as `npm pack` makes it. */
export type OwnProject = {
  readonly root: string;
  /** The paths that the package holds. */
  readonly packed: readonly string[];
  /** Runs a program of its node_modules by npx. Fails, with all it said, where that fails. */
  npx(args: readonly string[], settings?: Readonly<Record<string, string>>): Promise<string>;
};

/**
 * Builds and packs a copy of the checkout, and unpacks the package into a project of its own. What npm would fetch
 * for it is linked: the packages that it depends on, and no others, so that one which it forgot to name is missing.
 */
export async function ownProject(manifest: object, alsoLinked: readonly string[]): Promise<OwnProject> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "loregraph-package-")));
  const { tarball, packed } = await pack(join(folder, "checkout"));
  const root = join(folder, "project");
  await mkdir(join(root, "node_modules/loregraph"), { recursive: true });
  await writeFile(join(root, "package.json"), JSON.stringify(manifest));
  await execute(
    "tar",
    ["-xzf", tarball, "--strip-components=1", "-C", join(root, "node_modules/loregraph")],
    root,
  );
  for (const name of [...dependencies(), ...alsoLinked]) await link(root, `node_modules/${name}`);
  await linkPrograms(root, ["vitest", "tsc"]);
  return { root, packed, npx: (args, settings) => execute("npx", ["--no-install", ...args], root, settings) };
}

/** What `npm publish` would send, made as npm makes it, scripts included. */
async function pack(copy: string): Promise<{ readonly tarball: string; readonly packed: readonly string[] }> {
  await mkdir(copy);
  for (const name of await readdir(checkout))
    if (!["node_modules", "dist", ".git", ".loregraph"].includes(name))
      await cp(join(checkout, name), join(copy, name), { recursive: true });
  await symlink(join(checkout, "node_modules"), join(copy, "node_modules"));
  const told = await execute("npm", ["pack", "--json", "--silent", "--foreground-scripts=false"], copy);
  const [{ filename, files }] = Packed.parse(JSON.parse(told.slice(told.indexOf("[\n"))));
  return { tarball: join(copy, filename), packed: files.map(({ path }) => path) };
}

const Packed = z.tuple([z.object({ filename: z.string(), files: z.array(z.object({ path: z.string() })) })]);

/** The packages at the top of node_modules that an installation without development has. */
function dependencies(): readonly string[] {
  const { packages } = Lockfile.parse(readJson("package-lock.json"));
  return Object.entries(packages)
    .filter(([path, { dev, devOptional }]) => path.lastIndexOf("node_modules/") === 0 && !dev && !devOptional)
    .map(([path]) => path.slice("node_modules/".length));
}

async function link(root: string, path: string): Promise<void> {
  await mkdir(dirname(join(root, path)), { recursive: true });
  await symlink(join(checkout, path), join(root, path));
}

/** As npm does: our own program by its file in the package, others by theirs. */
async function linkPrograms(root: string, others: readonly string[]): Promise<void> {
  await mkdir(join(root, "node_modules/.bin"));
  await chmod(join(root, "node_modules/loregraph/bin/loregraph.js"), 0o755);
  await symlink("../loregraph/bin/loregraph.js", join(root, "node_modules/.bin/loregraph"));
  for (const name of others) await link(root, `node_modules/.bin/${name}`);
}

/** In the Node that runs the tests, with these settings and no others. */
async function execute(
  program: string,
  args: readonly string[],
  cwd: string,
  settings: Readonly<Record<string, string>> = {},
): Promise<string> {
  const path = `${dirname(process.execPath)}:${process.env.PATH}`;
  const env = { PATH: path, HOME: process.env.HOME, NO_COLOR: "1", ...settings };
  try {
    return (await promisify(execFile)(program, args, { cwd, env, maxBuffer: 64_000_000 })).stdout;
  } catch (failed) {
    const { stdout, stderr } = z.object({ stdout: z.string(), stderr: z.string() }).parse(failed);
    throw new Error(`${program} ${args.join(" ")} failed:\n${stdout}${stderr}`);
  }
}
