import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A TCP proxy in front of a database that can be cut and mended, to stand for a network or a server that fails. */
export async function proxyTo(url: string) {
  const target = new URL(url);
  const open = new Set<Socket>();
  let up = true;
  let next = Promise.withResolvers<void>();
  const server = createServer((client) => {
    next.resolve();
    if (!up) return void client.destroy();
    const upstream = connect(Number(target.port), target.hostname);
    for (const [socket, other] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      open.add(socket);
      socket.on("error", () => other.destroy());
      socket.on("close", () => {
        open.delete(socket);
        other.destroy();
      });
      socket.pipe(other);
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const through = new URL(url);
  through.hostname = "127.0.0.1";
  through.port = String((server.address() as AddressInfo).port);
  return {
    /** The database's address, through the proxy. */
    url: through.href,
    /** Breaks every connection, and takes no new one until `mend`. */
    cut(): void {
      up = false;
      for (const socket of open) socket.destroy();
    },
    mend(): void {
      up = true;
    },
    /** Resolves when somebody next tries to connect. */
    async nextAttempt(): Promise<void> {
      next = Promise.withResolvers<void>();
      await next.promise;
    },
    async close(): Promise<void> {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
