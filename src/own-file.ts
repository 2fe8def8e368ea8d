import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

/** A file or folder of our own package: beside `src` in a checkout, beside `dist` once it is built. */
export function ownFile(name: string): string {
  const inCheckout = fileURLToPath(new URL(`../${name}`, import.meta.url));
  return existsSync(inCheckout) ? inCheckout : fileURLToPath(new URL(`../../${name}`, import.meta.url));
}
