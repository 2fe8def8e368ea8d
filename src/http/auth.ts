import type { FastifyRequest, RouteOptions } from "fastify";
import { LoregraphError } from "../errors.ts";
import { type Keyring, openKeyring } from "../keys/keyring.ts";
import type { Key } from "../keys/keys.ts";
import type { App, Scope, Services } from "./services.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** Who asks: null on an open route, and before it is known. */
    key: Key | null;
  }
}

/** Learns of every request who makes it. Whether they may is asked later, so that strangers are counted, too. */
export function identifyCallers(app: App, { pool }: Pick<Services, "pool">): void {
  const keyring = openKeyring(pool);
  app.decorateRequest("key", null);
  app.addHook("onRequest", async (request) => {
    if (request.routeOptions.config?.scope !== "open") request.key = await callerOf(request, keyring);
  });
}

async function callerOf({ headers }: FastifyRequest, keyring: Keyring): Promise<Key | null> {
  const [, token] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "") ?? [];
  return token === undefined ? null : ((await keyring(token)) ?? null);
}

/** Makes every route that is added from here on ask whether its caller may; one that does not say who is a mistake. */
export function authorizeRoutes(app: App): void {
  app.addHook("onRoute", (route) => {
    const scope = scopeOf(route);
    route.config = { ...route.config, scope };
    const before = [route.onRequest ?? []].flat();
    if (scope !== "open") route.onRequest = [...before, async (request) => authorize(request, scope)];
  });
}

function scopeOf({ method, url, config }: RouteOptions): Scope {
  const scope = config?.scope ?? (isDocs(url) ? "open" : undefined);
  const at = `${method} ${url}`;
  if (scope === undefined)
    throw new Error(`expected ${at} to name its config.scope: open, read, write or admin`);
  const ofTenant = scope === "read" || scope === "write";
  if (ofTenant && !url.split("/").includes(":tenant_id"))
    throw new Error(
      `expected ${at} to have :tenant_id in its path, as its scope is ${scope}; else use admin`,
    );
  return scope;
}

/** The pages that a package adds: it cannot say who may see them. */
function isDocs(url: string): boolean {
  return url === "/docs" || url.startsWith("/docs/");
}

/** Throws UNAUTHENTICATED without a key, and FORBIDDEN where it is not for this. */
function authorize({ key, params }: FastifyRequest, scope: Exclude<Scope, "open">): void {
  const { scope: held, tenant_id } = requireKey(key);
  if (held === "admin") return;
  if (scope === "admin") throw forbidden("this needs a key with the scope admin");
  // The same for a tenant that exists and one that does not: whether it does is not for this key to know.
  if (tenant_id !== String((params as { tenant_id?: unknown }).tenant_id).toLowerCase())
    throw forbidden(`this needs a key of that tenant with the scope ${scope}`);
  if (scope === "write" && held !== "write") throw forbidden("this needs a key with the scope write");
}

/** The key of who asks. Throws UNAUTHENTICATED where there is none. */
export function requireKey(key: Key | null): Key {
  if (key !== null) return key;
  throw new LoregraphError("UNAUTHENTICATED", "expected an API key that is neither expired nor revoked");
}

function forbidden(message: string): LoregraphError {
  return new LoregraphError("FORBIDDEN", message);
}
