import { readFileSync } from "node:fs";
import { z } from "zod";
import { LoregraphError, messageOf } from "../errors.ts";

/** The table in the JSON file at `path`; `what` is in it, in the plural. Throws CONFIG_INVALID. */
export function readTable<Schema extends z.ZodType>(
  what: string,
  path: string,
  schema: Schema,
): z.infer<Schema> {
  const table = schema.safeParse(json(what, path));
  if (table.success) return table.data;
  throw new LoregraphError(
    "CONFIG_INVALID",
    `${what} in ${path} are wrong:\n${z.prettifyError(table.error)}`,
  );
}

function json(what: string, path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new LoregraphError("CONFIG_INVALID", `${what} in ${path} cannot be read: ${messageOf(cause)}`, {
      cause,
    });
  }
}
