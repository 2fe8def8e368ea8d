import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** A statement that a client has sent, and the number of its connection. */
export type Sent = { readonly text: string; readonly connection: number };

/**
 * A TCP proxy in front of a database that reads what goes through it: the statements that reach Postgres, each as often
 * as it is executed, and the codes of the errors that come back.
 */
export async function tapOf(url: string) {
  const target = new URL(url);
  const open = new Set<Socket>();
  const [statements, errors]: [Sent[], string[]] = [[], []];
  let connections = 0;
  let onStatement: (text: string) => void = () => {};
  const server = createServer((client) => {
    const connection = connections++;
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
    }
    const executed = statementsIn((text) => {
      statements.push({ text, connection });
      onStatement(text);
    });
    client.on("data", (bytes) => {
      executed(bytes);
      upstream.write(bytes);
    });
    const refused = errorsIn((code) => errors.push(code));
    upstream.on("data", (bytes) => {
      refused(bytes);
      client.write(bytes);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const through = new URL(url);
  through.hostname = "127.0.0.1";
  through.port = String((server.address() as AddressInfo).port);
  return {
    /** The database's address, through the tap. */
    url: through.href,
    statements,
    /** The SQLSTATEs of the errors that Postgres answered. */
    errors,
    /** Breaks all connections when a statement that matches is sent next: it does not reach Postgres. */
    cutAt(pattern: RegExp): void {
      onStatement = (text) => {
        if (!pattern.test(text)) return;
        onStatement = () => {};
        for (const socket of open) socket.destroy();
      };
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Reads what a client sends. Its first message has no type; of prepared statements only the first execution has the text. */
function statementsIn(tell: (text: string) => void): (bytes: Buffer) => void {
  const prepared = new Map<string, string>();
  let started = false;
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    for (;;) {
      const head = started ? 1 : 0;
      if (rest.length < head + 4) return;
      const length = head + rest.readInt32BE(head);
      if (rest.length < length) return;
      const [type, body] = [
        started ? String.fromCharCode(rest[0] ?? 0) : "",
        rest.subarray(head + 4, length),
      ];
      rest = rest.subarray(length);
      started = true;
      const [first = "", second = ""] = body.toString("utf8").split("\0");
      if (type === "Q") tell(first);
      if (type === "P") prepared.set(first, second);
      if (type === "B") tell(prepared.get(second) ?? second);
    }
  };
}

/** Reads what Postgres answers. */
function errorsIn(tell: (code: string) => void): (bytes: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    while (rest.length >= 5 && rest.length >= 1 + rest.readInt32BE(1)) {
      const length = 1 + rest.readInt32BE(1);
      if (rest[0] === 0x45) {
        const fields = rest.subarray(5, length).toString("utf8").split("\0");
        tell(fields.find((field) => field.startsWith("C"))?.slice(1) ?? "");
      }
      rest = rest.subarray(length);
    }
  };
}
