import { sha256 } from "../../src/hash.ts";

/** The number from 0 to 1, without 1, that `seed` gives for `what`: the same whatever was drawn before it, and by whom. */
export function fraction(seed: number, what: string): number {
  return Number.parseInt(sha256(`${seed} ${what}`).slice(0, 8), 16) / 0x1_0000_0000;
}

export function drawn<Value>(seed: number, what: string, from: readonly Value[]): Value {
  const value = from[Math.floor(fraction(seed, what) * from.length)];
  if (value === undefined) throw new Error(`nothing to draw from for ${what}`);
  return value;
}

/** A whole number between two, both included. */
export function between(seed: number, what: string, least: number, most: number): number {
  return least + Math.floor(fraction(seed, what) * (most - least + 1));
}

/** The uuid that stands for `what`, so that a seed names the same tenants and entities each time. */
export function uuidOf(what: string): string {
  const hex = sha256(what);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}
