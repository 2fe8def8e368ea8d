import { type AddressInfo, isIPv4, isIPv6 } from "node:net";
import type { HttpSettings } from "../config.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import type { App } from "./services.ts";

export type Listening = { readonly url: string; readonly host: string; readonly port: number };

/** Listens for requests until `app.close()`. Throws CONFIG_INVALID where that address is not to be had. */
export async function listen(
  app: App,
  { host, port }: Pick<HttpSettings, "host" | "port">,
): Promise<Listening> {
  try {
    await app.listen({ host, port, listenTextResolver: () => "listening" });
  } catch (cause) {
    throw new LoregraphError("CONFIG_INVALID", `cannot listen on ${host}, port ${port}: ${why(cause)}`, {
      cause,
    });
  }
  const bound = (app.server.address() as AddressInfo).port;
  return { url: `http://${isIPv6(host) ? `[${host}]` : host}:${bound}`, host, port: bound };
}

/** Can only this machine reach it? */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

function why(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  return reasons[code] ?? messageOf(cause);
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: "it is in use; name another port, or 0 for a free one",
  EACCES: "this user may not; name a port from 1024 on",
  EADDRNOTAVAIL: "this machine does not have that address",
  ENOTFOUND: "there is no such host",
  ERR_SOCKET_BAD_PORT: "a port is a number up to 65535",
};
