import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { type Db, execute, many, maybeOne, one } from "../db.ts";
import { LoregraphError } from "../errors.ts";

const KeyScope = z.enum(["admin", "read", "write"]);

/** A key of the API, without its secret, which nobody has but its owner. */
export const Key = z.object({
  id: z.guid(),
  name: z.string(),
  scope: KeyScope,
  /** The one tenant that it is of; an admin's is of none, and may do everything for all. */
  tenant_id: z.guid().nullable(),
  created_at: z.date(),
  expires_at: z.date().nullable(),
  revoked_at: z.date().nullable(),
  /** To the minute. */
  last_used_at: z.date().nullable(),
});
export type Key = z.infer<typeof Key>;

const columns = "id, name, scope, tenant_id, created_at, expires_at, revoked_at, last_used_at";

export type NewKey = Pick<Key, "name" | "scope" | "tenant_id"> & {
  /** Defaults to never. */
  readonly expiresInMs?: number | undefined;
};

/** A key and its token, `lg_<id>_<secret>`: this is the only time that anybody sees it. */
export type MadeKey = { readonly token: string; readonly key: Key };

/** Makes a key of 32 random bytes, of which only a hash is stored. Throws INPUT_INVALID where its name is no name. */
export async function makeKey(db: Db, { name, scope, tenant_id, expiresInMs }: NewKey): Promise<MadeKey> {
  assertName(name);
  const secret = randomBytes(32);
  const key = await one(
    db,
    Key,
    `insert into api_keys (name, hash, scope, tenant_id, expires_at)
     values ($1, $2, $3, $4, now() + $5 * interval '1 millisecond')
     returning ${columns}`,
    [name, hashOf(secret), scope, tenant_id, expiresInMs ?? null],
  );
  return { token: `lg_${key.id.replaceAll("-", "")}_${secret.toString("base64url")}`, key };
}

function assertName(name: string): void {
  const storable = !name.includes("\0") && name.isWellFormed();
  if (storable && name.trim() !== "" && name.length <= 200) return;
  throw new LoregraphError("INPUT_INVALID", "expected a name of 1 to 200 characters");
}

const Kept = Key.extend({ hash: z.instanceof(Buffer), alive: z.boolean() });

/** The key that a token is of, or undefined where it is none, or expired or revoked. */
export async function verifyKey(db: Db, token: string): Promise<Key | undefined> {
  const [, id, secret] = /^lg_([0-9a-f]{32})_([A-Za-z0-9_-]{43})$/.exec(token) ?? [];
  if (id === undefined || secret === undefined) return undefined;
  const kept = await maybeOne(db, Kept, keptSql, [id]);
  // Compared in any case, so that the time taken does not tell which ids exist.
  const matches = timingSafeEqual(hashOf(Buffer.from(secret, "base64url")), kept?.hash ?? noHash);
  if (!kept?.alive || !matches) return undefined;
  await noteUse(db, kept.id);
  return Key.parse(kept);
}

const keptSql = `
  select ${columns}, hash,
         revoked_at is null and (expires_at is null or expires_at > now()) as alive
  from api_keys where id = $1`;

/** Written at most once a minute, so that reading with a key does not mean writing. */
async function noteUse(db: Db, id: string): Promise<void> {
  await execute(
    db,
    `update api_keys set last_used_at = now()
     where id = $1 and (last_used_at is null or last_used_at < now() - interval '1 minute')`,
    [id],
  );
}

/** All keys, newest first; expired and revoked ones too. */
export async function listKeys(db: Db): Promise<readonly Key[]> {
  return await many(db, Key, `select ${columns} from api_keys order by id desc`);
}

/** Is there a key that somebody could use? */
export async function anyKey(db: Db): Promise<boolean> {
  const { there } = await one(
    db,
    z.object({ there: z.boolean() }),
    `select exists (
       select from api_keys where revoked_at is null and (expires_at is null or expires_at > now())
     ) as there`,
  );
  return there;
}

/** Lets a key live for `ms` from now on; one that was revoked stays so. */
export async function extendKey(db: Db, id: string, ms: number): Promise<void> {
  await execute(db, "update api_keys set expires_at = now() + $2 * interval '1 millisecond' where id = $1", [
    id,
    ms,
  ]);
}

/** Makes a key useless, for good; one that already is stays as it is. Throws NOT_FOUND where there is none. */
export async function revokeKey(db: Db, id: string): Promise<Key> {
  const key = await maybeOne(
    db,
    Key,
    `update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1 returning ${columns}`,
    [id],
  );
  if (key === undefined) throw new LoregraphError("NOT_FOUND", `there is no key ${id}`);
  return key;
}

/** The secret is random in all its bits, so that a slow hash would add nothing. */
function hashOf(secret: Buffer): Buffer {
  return createHash("sha256").update(secret).digest();
}

const noHash = Buffer.alloc(32);
