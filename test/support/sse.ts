import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { bearer } from "./http.ts";

/** A message of a stream, as a browser's EventSource would have it; one without data only moves `lastId`. */
export type Heard = { readonly id: string; readonly event: string; readonly data: unknown };

/** A client of a stream of server-sent events. */
export type Ear = AsyncDisposable & {
  readonly status: number;
  /** The next message. Rejects where the stream has ended before it. */
  next(): Promise<Heard>;
  /** The messages until `count` of them are there. */
  take(count: number): Promise<readonly Heard[]>;
  /** Resolves with the messages that are left, once the server has ended the stream. */
  rest(): Promise<readonly Heard[]>;
  /** What a client that comes back sends as `Last-Event-ID`. */
  readonly lastId: string;
};

/** Opens a stream, on a connection of its own. It is closed when the scope ends. */
export async function listenTo(url: string, token: string, lastId?: string): Promise<Ear> {
  const resumed = lastId === undefined ? {} : { "last-event-id": lastId };
  const asked = get(url, { agent: false, headers: { ...bearer(token), ...resumed } });
  const [body] = (await once(asked, "response")) as [IncomingMessage];
  let known = lastId ?? "";
  const blocks = blocksOf(body);
  const next = async (): Promise<Heard | undefined> => {
    for (let block = await blocks.next(); !block.done; block = await blocks.next()) {
      const fields = fieldsOf(block.value);
      known = fields.get("id") ?? known;
      const data = fields.get("data");
      if (data !== undefined)
        return { id: known, event: fields.get("event") ?? "message", data: JSON.parse(data) };
    }
    return undefined;
  };
  const certain = async () => {
    const heard = await next();
    if (heard === undefined) throw new Error("the stream has ended");
    return heard;
  };
  return {
    status: body.statusCode ?? 0,
    next: certain,
    async take(count) {
      const heard: Heard[] = [];
      while (heard.length < count) heard.push(await certain());
      return heard;
    },
    async rest() {
      const heard: Heard[] = [];
      for (let one = await next(); one !== undefined; one = await next()) heard.push(one);
      return heard;
    },
    get lastId() {
      return known;
    },
    async [Symbol.asyncDispose]() {
      body.destroy();
    },
  };
}

async function* blocksOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    yield* blocks;
  }
}

function fieldsOf(block: string): ReadonlyMap<string, string> {
  const fields = block.split("\n").map((line) => line.split(/: ?(.*)/s, 2) as [string, string]);
  return new Map(fields.filter(([name]) => name !== ""));
}
