import { readFileSync } from "node:fs";
import { z } from "zod";
import { ownFile } from "../own-file.ts";

/** The package's version. */
export function version(): string {
  return z.object({ version: z.string() }).parse(JSON.parse(readFileSync(ownFile("package.json"), "utf8")))
    .version;
}
