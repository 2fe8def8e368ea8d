import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import { type Message, messages } from "./messages.ts";
import { listenFor } from "./through.ts";

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
    const refused = messages((message) => {
      if (message.type === "E") errors.push(codeOf(message));
    });
    upstream.on("data", (bytes) => {
      refused(bytes);
      client.write(bytes);
    });
  });
  const through = await listenFor(url, server);
  return {
    /** The database's address, through the tap. */
    url: through,
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

/** Reads what a client sends. Of prepared statements only the first execution has the text. */
function statementsIn(tell: (text: string) => void): (bytes: Buffer) => void {
  const prepared = new Map<string, string>();
  const read = ({ type, bytes }: Message) => {
    const [first = "", second = ""] = bytes.toString("utf8", 5).split("\0");
    if (type === "Q") tell(first);
    if (type === "P") prepared.set(first, second);
    if (type === "B") tell(prepared.get(second) ?? second);
  };
  return messages(read, { untyped: 1 });
}

/** The SQLSTATE of an error that Postgres answered. */
function codeOf({ bytes }: Message): string {
  const fields = bytes.toString("utf8", 5).split("\0");
  return fields.find((field) => field.startsWith("C"))?.slice(1) ?? "";
}
