import { once } from "node:events";
import type { AddressInfo, Server } from "node:net";

/** Lets a server listen on loopback, and gives the address of the database at `url` as it is reached through it. */
export async function listenFor(url: string, server: Server): Promise<string> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const through = new URL(url);
  through.hostname = "127.0.0.1";
  through.port = String((server.address() as AddressInfo).port);
  return through.href;
}
