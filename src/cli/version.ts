import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";

/** The package's version; its package.json lies one folder further up once it is built. */
export function version(): string {
  const near = fileURLToPath(new URL("../../package.json", import.meta.url));
  const file = existsSync(near) ? near : fileURLToPath(new URL("../../../package.json", import.meta.url));
  return z.object({ version: z.string() }).parse(JSON.parse(readFileSync(file, "utf8"))).version;
}
