import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { vi } from "vitest";
import type { Db } from "../../src/db.ts";
import { type Message, messages, textOf } from "../support/messages.ts";
import { listenFor } from "../support/through.ts";

/**
 * Where the process at the end of a wire dies, counted over all its connections: before its nth statement reaches
 * Postgres, or once that has done it and before the process hears of it.
 */
export type Boundary = { readonly kind: "before" | "unanswered"; readonly nth: number };

/** A statement that was sent. */
export type Sent = {
  /** What it says, for people. */
  readonly text: string;
  /** Was it answered from outside of a transaction, so that whatever it did is done? */
  committed: boolean;
};

export type WireOptions = {
  /** Whose sessions are looked for, to tell whether Postgres has noticed the death. */
  readonly observer: Db;
  /** Absent: it is only counted. */
  readonly boundary?: Boundary | undefined;
  /** What else dies with the wire, at that very moment. */
  readonly onDeath?: () => void;
};

/**
 * A wire between one process and Postgres that counts statements and is cut at one of them. It reads the protocol, and
 * so needs to know neither who sends nor what: a simple query is a statement, and so is whatever ends with a sync.
 *
 * Cut, it is what the death of a process is to Postgres: all sockets are closed without a goodbye, and nothing comes
 * after. To the process it is silence: nothing that it waits for is ever answered, so none of its later code runs.
 */
export async function wireTo(url: string, options: WireOptions) {
  const wire = new Wire(url, options);
  await wire.listen();
  return wire;
}

/** Between the process and its sessions. */
class Wire {
  readonly sent: Sent[] = [];
  readonly #target: URL;
  readonly #options: WireOptions;
  readonly #server = createServer((socket) => this.#accept(socket));
  readonly #clients = new Set<Socket>();
  readonly #upstreams = new Set<Socket>();
  readonly #sessions: number[] = [];
  readonly #died = Promise.withResolvers<void>();
  #url = "";
  #dead = false;

  constructor(url: string, options: WireOptions) {
    this.#target = new URL(url);
    this.#options = options;
  }

  async listen(): Promise<void> {
    this.#url = await listenFor(this.#target.href, this.#server);
  }

  /** The database's address, through the wire. */
  get url(): string {
    return this.#url;
  }

  get isDead(): boolean {
    return this.#dead;
  }

  /** Resolves at the moment of death. */
  get died(): Promise<void> {
    return this.#died.promise;
  }

  /** Resolves once Postgres has ended every session of the dead process, and with it what they had not committed. */
  async mourned(): Promise<void> {
    const alive = "select from pg_stat_activity where pid = any ($1)";
    await vi.waitUntil(
      async () => (await this.#options.observer.query(alive, [this.#sessions])).rowCount === 0,
      { timeout: 15_000, interval: 2 },
    );
  }

  /** Cuts it now, whatever is under way. */
  die(): void {
    if (this.#dead) return;
    this.#dead = true;
    for (const upstream of this.#upstreams) upstream.destroy();
    this.#options.onDeath?.();
    this.#died.resolve();
  }

  async close(): Promise<void> {
    for (const socket of [...this.#clients, ...this.#upstreams]) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  /** Whoever calls a dead wire hears nothing. */
  #accept(client: Socket): void {
    keep(client, this.#clients);
    if (this.#dead) return;
    const upstream = connect(Number(this.#target.port), this.#target.hostname);
    keep(upstream, this.#upstreams);
    this.#join(client, upstream);
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => this.#dead || client.destroy());
  }

  #join(client: Socket, upstream: Socket): void {
    /** What Postgres has yet to answer on this connection, in order; the start-up is the first, and no statement. */
    const unanswered = [0];
    let within = false;
    const read = (message: Message) => {
      if (!within && begins(message)) {
        unanswered.push(this.#count(message));
        within = true;
      }
      if (this.#dead) return;
      if (message.type === "Q" || message.type === "S") within = false;
      upstream.write(message.bytes);
    };
    const answer = (message: Message) => {
      if (message.type === "K") this.#sessions.push(message.bytes.readInt32BE(5));
      const nth = message.type === "Z" ? unanswered.shift() : unanswered[0];
      if (isIdle(message)) this.#noteCommitted(nth);
      if (!this.#isAt("unanswered", nth)) client.write(message.bytes);
      else if (message.type === "Z") this.die();
    };
    client.on("data", this.#untilDeath(messages(read, { untyped: 1 })));
    upstream.on("data", this.#untilDeath(messages(answer)));
  }

  #untilDeath(read: (bytes: Buffer) => void): (bytes: Buffer) => void {
    return (bytes) => {
      if (!this.#dead) read(bytes);
    };
  }

  /** @returns which of all statements this is. */
  #count(message: Message): number {
    const nth = this.sent.push({ text: textOf(message), committed: false });
    if (this.#isAt("before", nth)) this.die();
    return nth;
  }

  #noteCommitted(nth = 0): void {
    const sent = this.sent[nth - 1];
    if (sent) sent.committed = true;
  }

  #isAt(kind: Boundary["kind"], nth: number | undefined): boolean {
    const { boundary } = this.#options;
    return boundary?.kind === kind && boundary.nth === nth;
  }
}

/** A statement begins with a simple query, or with the first message up to the sync that ends it. */
function begins({ type }: Message): boolean {
  return /^[QFPBDECHS]$/.test(type);
}

/** Is Postgres ready for the next statement, and in no transaction? */
function isIdle({ type, bytes }: Message): boolean {
  return type === "Z" && bytes.toString("latin1", 5) === "I";
}

function keep(socket: Socket, all: Set<Socket>): void {
  all.add(socket);
  socket.setNoDelay(true);
  socket.on("error", () => {}); // the other side is gone, which its close tells as well
  socket.on("close", () => all.delete(socket));
}
