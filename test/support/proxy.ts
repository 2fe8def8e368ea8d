import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { listenFor } from "./through.ts";

/** Which way bytes still go through a connection that a black hole took: neither, or one of them. */
export type Direction = "none" | "to database" | "from database";

/**
 * A TCP proxy that fails as networks do. What a black hole or a half-open connection swallowed never comes back, and
 * nobody is told: no FIN, no RST. As after a failover, such connections stay dead when it is mended; new ones work.
 */
export type TestProxy = {
  /** The database's address, through the proxy. */
  readonly url: string;
  /** Breaks every connection, and takes no new one until `mend`. */
  cut(): void;
  /** Takes connections and swallows all that is sent, on those that there are too, until `mend`. */
  blackHole(): void;
  /** Lets bytes pass in one direction alone, until `mend`. */
  halfOpen(passes: Exclude<Direction, "none">): void;
  /** Delays every byte by so much in each direction. */
  delay(ms: number): void;
  mend(): void;
  /** Resolves when somebody next tries to connect. */
  nextAttempt(): Promise<void>;
  close(): Promise<void>;
};

type Link = { readonly client: Socket; readonly server: Socket; passes: Direction | "both" };

/** A proxy in front of the database at `url`. */
export async function proxyTo(url: string): Promise<TestProxy> {
  const target = new URL(url);
  const links = new Set<Link>();
  let state: Link["passes"] | "cut" = "both";
  let delayMs = 0;
  let next = Promise.withResolvers<void>();

  const listener = createServer((client) => {
    next.resolve();
    if (state === "cut") return void client.resetAndDestroy();
    const server = connect(Number(target.port), target.hostname);
    const link: Link = { client, server, passes: state };
    links.add(link);
    carry(link, client, server, "to database");
    carry(link, server, client, "from database");
  });

  function carry(link: Link, from: Socket, to: Socket, direction: Direction): void {
    const passes = () => link.passes === "both" || link.passes === direction;
    from.setNoDelay(true);
    from.on("data", (bytes) => later(() => passes() && to.write(bytes)));
    from.on("error", () => {});
    from.on("close", () => {
      // Of a dead direction the other end never hears, but our own end of it must not be kept for ever.
      if (passes()) later(() => to.destroy());
      else if (direction === "to database") link.server.destroy();
      if (from.destroyed && to.destroyed) links.delete(link);
    });
  }

  /** In order, as timers of one length are. */
  function later(what: () => unknown): void {
    if (delayMs === 0) what();
    else setTimeout(what, delayMs);
  }

  function deaden(passes: Direction): void {
    state = passes;
    for (const link of links) link.passes = passes;
  }

  return {
    url: await listenFor(url, listener),
    cut() {
      state = "cut";
      for (const { client, server } of links) for (const end of [client, server]) end.destroy();
    },
    blackHole: () => deaden("none"),
    halfOpen: deaden,
    delay(ms) {
      delayMs = ms;
    },
    mend() {
      state = "both";
      delayMs = 0;
    },
    async nextAttempt() {
      next = Promise.withResolvers<void>();
      await next.promise;
    },
    async close() {
      for (const { client, server } of links) for (const end of [client, server]) end.destroy();
      listener.close();
      await once(listener, "close");
    },
  };
}
