import type { Db } from "../db.ts";
import { sha256 } from "../hash.ts";
import { type Key, verifyKey } from "./keys.ts";

export type KeyringOptions = {
  /** How long a good token is trusted without asking again, in milliseconds. Defaults to 5,000. */
  readonly trustMs?: number;
  /** The most tokens that are remembered. Defaults to 1,000. */
  readonly most?: number;
};

/** The key that a token is of, or undefined for one that is none. */
export type Keyring = (token: string) => Promise<Key | undefined>;

/**
 * Verifies tokens, and trusts a good one for a while, so that a read costs no second query: a revoked or expired key
 * stops within those five seconds. A bad one is asked for each time. Tokens are remembered by their hashes.
 */
export function openKeyring(db: Db, { trustMs = 5_000, most = 1_000 }: KeyringOptions = {}): Keyring {
  const trusted = new Map<string, { readonly key: Key; readonly until: number }>();
  return async (token) => {
    const hash = sha256(token);
    const known = trusted.get(hash);
    if (known && known.until > performance.now()) return known.key;
    trusted.delete(hash);
    const key = await verifyKey(db, token);
    if (key) trusted.set(hash, { key, until: performance.now() + trustMs });
    const [oldest] = trusted.keys();
    if (oldest !== undefined && trusted.size > most) trusted.delete(oldest);
    return key;
  };
}
