import { timingSafeEqual } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { LoregraphError } from "../errors.ts";
import { sha256 } from "../hash.ts";
import type { App } from "../http/services.ts";

/** The page that Studio is. */
export const studioPage = "https://smith.langchain.com";

/** Answers that a page of Studio, or of this machine, may read; no other page gets any. */
export function admitPages(app: App): void {
  app.addHook("onRequest", async ({ headers, method }, reply) => {
    const { origin } = headers;
    if (origin === undefined) return;
    if (!mayAsk(origin))
      throw new LoregraphError("FORBIDDEN", `expected a page of ${studioPage} or of this machine to ask`);
    reply.headers({ ...shared, "access-control-allow-origin": origin });
    if (method === "OPTIONS") return reply.code(204).headers(preflight).send();
  });
}

function mayAsk(origin: string): boolean {
  const { protocol, hostname } = URL.parse(origin) ?? {};
  return origin === studioPage || (protocol === "http:" && own.includes(hostname ?? ""));
}

const own = ["localhost", "127.0.0.1", "[::1]"];

const shared = {
  vary: "Origin",
  "access-control-expose-headers":
    "content-location, location, retry-after, x-pagination-total, x-pagination-next",
};

/** A page of the internet asks a browser's leave to call this machine: the last header gives it. */
const preflight = {
  "access-control-allow-methods": "GET, POST, PATCH, PUT, DELETE",
  "access-control-allow-headers":
    "authorization, content-type, last-event-id, x-api-key, x-auth-scheme, x-tenant-id, x-user-id",
  "access-control-allow-private-network": "true",
  "access-control-max-age": "600",
};

const keyed = /^\/key\/([^/?#]+)(?=[/?#]|$)/;

/**
 * A base URL may end in `/key/<key>`, for a client that has no field for a key, as Studio's page has none: then it stands
 * for the header.
 */
export function withoutKey(request: IncomingMessage): string {
  const { url = "/" } = request;
  const [prefix, key] = keyed.exec(url) ?? [];
  if (prefix === undefined || key === undefined) return url;
  request.headers["x-api-key"] ??= key;
  return url.slice(prefix.length) || "/";
}

/** Refuses who does not show the key. Only `/ok` is open. */
export function requireStudioKey(app: App, key: string): void {
  const hash = Buffer.from(sha256(key));
  app.addHook("onRequest", async ({ headers, routeOptions }) => {
    if (routeOptions.url === "/ok") return;
    if (shownBy(headers).some((shown) => timingSafeEqual(Buffer.from(sha256(shown)), hash))) return;
    throw new LoregraphError(
      "UNAUTHENTICATED",
      "expected the key that `loregraph studio` printed, as `x-api-key`, as a bearer token, or as /key/<key> behind the address",
    );
  });
}

function shownBy(headers: IncomingMessage["headers"]): readonly string[] {
  const [, token] = /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "") ?? [];
  return [headers["x-api-key"], token].flatMap((shown) => shown ?? []);
}
