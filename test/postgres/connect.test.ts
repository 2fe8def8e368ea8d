import { expect, inject, test } from "vitest";
import { checkVersion, connectPostgres } from "../../src/postgres/connect.ts";
import { freePort } from "../../src/postgres/port.ts";

test("uses the server of DATABASE_URL and starts none", async () => {
  const databaseUrl = inject("postgresUrl");
  const connected = await connectPostgres({ databaseUrl, home: "/nonexistent" });

  expect(connected).toMatchObject({ url: databaseUrl, embedded: false });
  await connected.release();
});

test("says which server does not answer, without its password", async () => {
  const databaseUrl = `postgres://me:secret@127.0.0.1:${await freePort()}/lore`;
  const connecting = connectPostgres({ databaseUrl, home: "/nonexistent" });

  await expect(connecting).rejects.toMatchObject({ code: "DATABASE_UNAVAILABLE" });
  await expect(connecting).rejects.toThrow(
    /cannot connect to Postgres at 127\.0\.0\.1:\d+\/lore: .*ECONNREFUSED/,
  );
  await expect(connecting).rejects.not.toThrow("secret");
});

test("refuses a Postgres older than 15", () => {
  expect(() => checkVersion(140_011)).toThrow("expected DATABASE_URL to be a Postgres from 15 on, got: 14");
  expect(() => checkVersion(150_000)).not.toThrow();
});
