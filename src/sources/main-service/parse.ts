import type { z } from "zod";
import { Malformed } from "./malformed.ts";

/** Reads an answer's bytes as `shape`. Malformed tells what is refused by its path and kind, never by its value. */
export function parseAnswer<Answer>(shape: z.ZodType<Answer>, bytes: ArrayBuffer): Answer {
  const parsed = shape.safeParse(jsonOf(bytes));
  if (parsed.success) return parsed.data;
  const said = parsed.error.issues.slice(0, 3).map(({ path, message }) => `${written(path)}: ${message}`);
  throw new Malformed(said.join("; "));
}

// What is caught here quotes what was read, so it is no cause to pass on.
function jsonOf(bytes: ArrayBuffer): unknown {
  const text = textOf(bytes);
  try {
    return JSON.parse(text);
  } catch {
    throw new Malformed(`expected JSON, got: ${bytes.byteLength} bytes of something else`);
  }
}

function textOf(bytes: ArrayBuffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new Malformed(`expected UTF-8, got: ${bytes.byteLength} bytes of something else`);
  }
}

/** `items[3].source_id`; the answer as a whole is `$`. */
function written(path: readonly PropertyKey[]): string {
  const steps = path.map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`));
  return steps.join("").replace(/^\./, "") || "$";
}
