import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { verifyKey } from "../../src/keys/keys.ts";
import { run } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
const tenant = randomUUID();
const keys = (...args: string[]) => run(["keys", ...args], { DATABASE_URL: database.url });

beforeAll(async () => {
  database = await testDatabase();
});

describe("create", () => {
  test("prints the token alone on stdout, and tells about it on stderr", async () => {
    const { code, out, err } = await keys("create", "--name", "me", "--admin");

    expect(code).toBe(0);
    expect(err).toMatch(
      /^key [0-9a-f-]{36} for admin, until it is revoked; its token is shown this once:\n$/,
    );
    expect(await verifyKey(database.pool, out.trim())).toMatchObject({ name: "me", scope: "admin" });
  });

  test("makes a key of a tenant that expires", async () => {
    const { code, out, err } = await keys(
      ...[
        "create",
        "--name",
        "product",
        "--tenant",
        tenant,
        "--scope",
        "write",
        "--expires",
        "30d",
        "--json",
      ],
    );
    const { token, key } = JSON.parse(out);
    const days = (Date.parse(key.expires_at) - Date.parse(key.created_at)) / 86_400_000;

    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(key).toMatchObject({ name: "product", scope: "write", tenant_id: tenant });
    expect(days).toBe(30);
    expect(await verifyKey(database.pool, token)).toMatchObject({ id: key.id });
  });

  test.each([
    [["--admin"], "required option '--name <text>' not specified"],
    [["--name", "x"], "expected either --admin alone, or --tenant with --scope"],
    [["--name", "x", "--admin", "--tenant", tenant], "expected either --admin alone"],
    [["--name", "x", "--tenant", tenant], "expected either --admin alone, or --tenant with --scope"],
    [["--name", "x", "--tenant", tenant, "--scope", "admin"], "Allowed choices are read, write"],
    [["--name", "x", "--admin", "--expires", "soon"], "expected --expires to be such as 30d, 12h or 15m"],
    [["--name", "x", "--admin", "--expires", "9999999d"], "at most 3650d, got: 9999999d"],
    [["--name", " ", "--admin"], "expected a name of 1 to 200 characters"],
  ])("refuses %j", async (args, message) => {
    expect(await keys("create", ...args)).toMatchObject({
      code: 2,
      out: "",
      err: expect.stringContaining(message),
    });
  });
});

test("list tells what each key may, whether it still does, and when it last did", async () => {
  const made = JSON.parse((await keys("create", "--name", "listed", "--admin", "--json")).out);
  await verifyKey(database.pool, made.token);
  const { out } = await keys("list");
  const json = JSON.parse((await keys("list", "--json")).out);

  expect(out.split("\n")[0]).toMatch(/^id +name +may +is +last used$/);
  expect(out).toMatch(new RegExp(`^${made.key.id} +listed +admin +valid +\\d+ s ago$`, "m"));
  expect(json[0]).toMatchObject({ id: made.key.id, name: "listed" });
  expect(JSON.stringify(json)).not.toMatch(/hash|lg_/);
});

describe("revoke", () => {
  test("makes a key useless, and says so in the list", async () => {
    const { token, key } = JSON.parse((await keys("create", "--name", "lost", "--admin", "--json")).out);

    expect(await keys("revoke", key.id)).toMatchObject({
      code: 0,
      out: "revoked lost; it stops within 5 s\n",
    });
    expect(await verifyKey(database.pool, token)).toBeUndefined();
    expect((await keys("list")).out).toMatch(new RegExp(`^${key.id} .* revoked +never$`, "m"));
  });

  test("refuses an id of no key", async () => {
    const id = randomUUID();

    expect(await keys("revoke", id)).toMatchObject({ code: 2, err: expect.stringContaining(`no key ${id}`) });
    expect(await keys("revoke", "lost")).toMatchObject({ code: 2 });
  });
});
