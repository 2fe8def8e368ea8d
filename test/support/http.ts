import { randomUUID } from "node:crypto";
import type { InjectOptions, LightMyRequestResponse, RouteOptions } from "fastify";
import pino from "pino";
import { afterAll } from "vitest";
import type { HttpSettings } from "../../src/config.ts";
import { type AppOptions, openApp } from "../../src/http/app.ts";
import type { App, Services } from "../../src/http/services.ts";
import { type MadeKey, makeKey, type NewKey, revokeKey } from "../../src/keys/keys.ts";

/** The app with a key of each kind, for two tenants. `keys` are tokens. */
export type TestApp = {
  readonly app: App;
  readonly routes: readonly RouteOptions[];
  /** The tenant of `keys.read` and `keys.write`. */
  readonly tenant: string;
  /** The tenant of `keys.foreignRead` and `keys.foreignWrite`. */
  readonly foreign: string;
  readonly keys: Readonly<Record<KeyKind, string>>;
  /** Asks as the owner of a token, by default the admin. */
  ask(options: InjectOptions, token?: string): Promise<LightMyRequestResponse>;
};

export type KeyKind =
  | "admin"
  | "read"
  | "write"
  | "foreignRead"
  | "foreignWrite"
  | "expired"
  | "revoked"
  | "malformed";

export const testSettings: HttpSettings = {
  host: "127.0.0.1",
  port: 0,
  maxBodyBytes: 8_388_608,
  requestsPerMinute: 1_000_000,
};

const opened: App[] = [];

/** The app on a test's runtime; it is closed after the file's last test. */
export async function openTestApp(
  context: Omit<Services, "log"> & Partial<Services>,
  settings: Partial<HttpSettings> = {},
  options: AppOptions = {},
): Promise<TestApp> {
  const [tenant, foreign] = [randomUUID(), randomUUID()];
  const keys = await makeKeys(context, tenant, foreign);
  const routes: RouteOptions[] = [];
  const services = { ...context, log: context.log ?? pino({ level: "silent" }) };
  const onRoute = (route: RouteOptions) => routes.push(route);
  const app = await openApp(services, { ...testSettings, ...settings }, { onRoute, ...options });
  opened.push(app);
  const ask = (options: InjectOptions, token: string = keys.admin) =>
    app.inject({ ...options, headers: { ...options.headers, ...bearer(token) } });
  return { app, routes, tenant, foreign, keys, ask };
}

export function bearer(token: string): { authorization: string } {
  return { authorization: `Bearer ${token}` };
}

async function makeKeys(
  { pool }: Pick<Services, "pool">,
  tenant_id: string,
  foreign: string,
): Promise<Record<KeyKind, string>> {
  const make = (given: Partial<NewKey>): Promise<MadeKey> =>
    makeKey(pool, { name: "test", scope: "write", tenant_id, ...given });
  const revoked = await make({});
  await revokeKey(pool, revoked.key.id);
  return {
    admin: (await make({ scope: "admin", tenant_id: null })).token,
    read: (await make({ scope: "read" })).token,
    write: (await make({})).token,
    foreignRead: (await make({ scope: "read", tenant_id: foreign })).token,
    foreignWrite: (await make({ tenant_id: foreign })).token,
    expired: (await make({ expiresInMs: -1 })).token,
    revoked: revoked.token,
    malformed: "lg_0_'; drop table api_keys; --",
  };
}

// Before the database of the file is dropped: hooks run in the reverse of the order in which they were added.
afterAll(async () => {
  for (const app of opened) await app.close();
});
