import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { openKeyring } from "../src/keys/keyring.ts";
import { anyKey, listKeys, makeKey, type NewKey, revokeKey, verifyKey } from "../src/keys/keys.ts";
import { type TestDatabase, testDatabase } from "./support/database.ts";

let database: TestDatabase;

beforeAll(async () => {
  database = await testDatabase();
});

const admin: NewKey = { name: "admin", scope: "admin", tenant_id: null };

const row = async (id: string) =>
  (await database.pool.query("select * from api_keys where id = $1", [id])).rows[0];

describe("a key", () => {
  test("is verified by its token, and by no other", async () => {
    const tenant_id = randomUUID();
    const { token, key } = await makeKey(database.pool, { name: "product", scope: "write", tenant_id });
    const { token: other } = await makeKey(database.pool, admin);
    const crossed = `${token.slice(0, -43)}${other.slice(-43)}`;

    expect(token).toMatch(/^lg_[0-9a-f]{32}_[A-Za-z0-9_-]{43}$/);
    expect(await verifyKey(database.pool, token)).toMatchObject({
      id: key.id,
      name: "product",
      scope: "write",
      tenant_id,
    });
    expect(await verifyKey(database.pool, crossed)).toBeUndefined();
  });

  test("leaves nothing in the database that it could be made of", async () => {
    const { token, key } = await makeKey(database.pool, admin);
    const secret = Buffer.from(token.slice(-43), "base64url");
    const kept = await row(key.id);

    expect(kept.hash).toHaveLength(32);
    expect(kept.hash.equals(secret)).toBe(false);
    expect(JSON.stringify(kept)).not.toContain(token.slice(-43));
  });

  test.each([
    ["of no key", `lg_${"0".repeat(32)}_${"A".repeat(43)}`],
    ["with SQL in it", "lg_' or true --_x"],
    ["that is empty", ""],
    ["that is long", `lg_${"a".repeat(1_000_000)}`],
  ])("is not found by a token %s", async (_, token) => {
    expect(await verifyKey(database.pool, token)).toBeUndefined();
  });

  test("ends when it expires", async () => {
    const past = await makeKey(database.pool, { ...admin, expiresInMs: -1 });
    const future = await makeKey(database.pool, { ...admin, expiresInMs: 60_000 });

    expect(await verifyKey(database.pool, past.token)).toBeUndefined();
    expect(await verifyKey(database.pool, future.token)).toMatchObject({ id: future.key.id });
  });

  test("ends when it is revoked, once and for all", async () => {
    const { token, key } = await makeKey(database.pool, admin);
    const { revoked_at } = await revokeKey(database.pool, key.id);

    expect(await verifyKey(database.pool, token)).toBeUndefined();
    expect((await revokeKey(database.pool, key.id)).revoked_at).toEqual(revoked_at);
  });

  test("that does not exist cannot be revoked", async () => {
    await expect(revokeKey(database.pool, randomUUID())).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  test("notes its use once a minute at most", async () => {
    const { token, key } = await makeKey(database.pool, admin);
    await verifyKey(database.pool, token);
    const first = (await row(key.id)).last_used_at;
    await verifyKey(database.pool, token);
    expect((await row(key.id)).last_used_at).toEqual(first);

    await database.pool.query(
      "update api_keys set last_used_at = now() - interval '61 seconds' where id = $1",
      [key.id],
    );
    await verifyKey(database.pool, token);

    expect((await row(key.id)).last_used_at.getTime()).toBeGreaterThanOrEqual(first.getTime());
  });

  test("of an admin is of no tenant, and every other of one", async () => {
    const wrong: readonly NewKey[] = [
      { ...admin, tenant_id: randomUUID() },
      { ...admin, scope: "read" },
    ];
    for (const key of wrong)
      await expect(makeKey(database.pool, key)).rejects.toMatchObject({
        constraint: "admin_is_of_no_tenant",
      });
  });
});

test("keys are listed newest first, without their hashes", async () => {
  const older = await makeKey(database.pool, admin);
  const newer = await makeKey(database.pool, { ...admin, name: "newer" });
  const [first, second] = await listKeys(database.pool);

  expect([first, second]).toEqual([newer.key, older.key]);
  expect(Object.keys(first ?? {})).not.toContain("hash");
});

test("whether there is a key counts those alone that could be used", async () => {
  const { pool } = await testDatabase();
  expect(await anyKey(pool)).toBe(false);
  await makeKey(pool, { ...admin, expiresInMs: -1 });
  expect(await anyKey(pool)).toBe(false);
  const { key } = await makeKey(pool, admin);
  expect(await anyKey(pool)).toBe(true);
  await revokeKey(pool, key.id);
  expect(await anyKey(pool)).toBe(false);
});

describe("a keyring", () => {
  /** How often the database was asked from here on. */
  function countStatements(): () => number {
    const spy = vi.spyOn(database.pool, "query");
    onTestFinished(() => spy.mockRestore());
    return () => spy.mock.calls.length;
  }

  test("asks the database once for a token that it trusts", async () => {
    const keyring = openKeyring(database.pool);
    const { token, key } = await makeKey(database.pool, admin);
    await keyring(token);
    const statements = countStatements();

    expect(await keyring(token)).toMatchObject({ id: key.id });
    expect(statements()).toBe(0);
  });

  test("does not outlive its trust", async () => {
    const keyring = openKeyring(database.pool, { trustMs: 0 });
    const { token, key } = await makeKey(database.pool, admin);
    expect(await keyring(token)).toMatchObject({ id: key.id });
    await revokeKey(database.pool, key.id);

    expect(await keyring(token)).toBeUndefined();
  });

  test("trusts no token that was bad", async () => {
    const keyring = openKeyring(database.pool);
    const wrong = `lg_${"0".repeat(32)}_${"A".repeat(43)}`;
    const statements = countStatements();

    expect([await keyring(wrong), await keyring(wrong)]).toEqual([undefined, undefined]);
    expect(statements()).toBe(2);
  });

  test("forgets the oldest token where there are too many", async () => {
    const keyring = openKeyring(database.pool, { most: 2 });
    const tokens: string[] = [];
    for (let made = 0; made < 3; made++) tokens.push((await makeKey(database.pool, admin)).token);
    for (const token of tokens) await keyring(token);
    const statements = countStatements();

    await keyring(tokens[2] ?? "");
    expect(statements()).toBe(0);
    await keyring(tokens[0] ?? "");
    expect(statements()).toBeGreaterThan(0);
  });
});
