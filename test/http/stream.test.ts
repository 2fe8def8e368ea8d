import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { setImmediate } from "node:timers/promises";
import fastify from "fastify";
import { expect, onTestFinished, test } from "vitest";
import type { App } from "../../src/http/services.ts";
import { openStreams, type Stream, type StreamLimits, streamRoute } from "../../src/http/stream.ts";

/** An app with one route of streams, and whom it answers. */
async function serve(answer: (stream: Stream) => unknown, limits: StreamLimits = {}) {
  const app: App = fastify().withTypeProvider();
  const open = openStreams(app, limits);
  app.get<{ Params: { of: string } }>("/:of", streamRoute, async ({ params }, reply) => {
    answer(open(reply, params.of));
    return reply;
  });
  const address = await app.listen({ port: 0 });
  onTestFinished(() => app.close());
  const ask = async (of = "a"): Promise<IncomingMessage> => {
    const [response] = await once(get(`${address}/${of}`, { agent: false }), "response");
    onTestFinished(() => response.destroy());
    return response;
  };
  return { app, ask };
}

function ended({ signal }: Stream): Promise<unknown> {
  return signal.aborted ? Promise.resolve() : once(signal, "abort");
}

test("writes messages as server-sent events", async () => {
  const { ask } = await serve((stream) => {
    stream.send({ id: 7, event: "noticed", data: { said: "a\nb\r\u2028“" } });
    stream.send({ data: null });
    stream.send({ id: 8 });
    stream.send({ id: "9\nid: 1", event: "a\r\nb\0", data: 1 });
    stream.end();
    stream.send({ data: "after the end" });
  });
  const response = await ask();
  expect(response.headers).toMatchObject({
    "content-type": "text/event-stream; charset=utf-8",
    "cache-control": "no-store",
    connection: "close",
  });
  expect(await text(response)).toBe(
    [
      "retry: 1000",
      'id: 7\nevent: noticed\ndata: {"said":"a\\nb\\r\u2028“"}',
      "data: null",
      "id: 8",
      "id: 9 id: 1\nevent: a  b \ndata: 1",
      "",
    ].join("\n\n"),
  );
});

test("tells when the client has gone", async () => {
  const streams: Stream[] = [];
  const { ask } = await serve((stream) => streams.push(stream));
  const response = await ask();
  response.destroy();
  await Promise.all(streams.map(ended));
  expect(streams).toHaveLength(1);
});

test("gives signs of life, and ends after its time", async () => {
  const { ask } = await serve(() => {}, { heartbeatMs: 10, longestMs: 200 });
  expect(await text(await ask())).toMatch(/^retry: 1000\n\n(:\n\n)+$/);
});

test("makes who heeds it wait for a client that is slow, and loses nothing", async () => {
  let most = 0;
  const { ask } = await serve(async (stream) => {
    for (let id = 1; id <= 3_000; id++) {
      await stream.room();
      stream.send({ id, data: "x".repeat(10_000) });
      most = id;
    }
    stream.end();
  });
  const response = await ask();
  await expect.poll(() => most).toBeGreaterThan(5);
  expect(most).toBeLessThan(3_000);
  const ids = [...(await text(response)).matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id));
  expect(ids).toEqual(Array.from({ length: 3_000 }, (_, nth) => nth + 1));
});

test("drops a client that leaves too much unread, rather than keep it all", async () => {
  let sent = 0;
  const dropped = Promise.withResolvers<void>();
  const { ask } = await serve(async (stream) => {
    while (!stream.signal.aborted) {
      stream.send({ data: "x".repeat(100_000) });
      sent += 100_000;
      await setImmediate();
    }
    dropped.resolve();
  });
  await ask();
  await dropped.promise;
  expect(sent).toBeLessThan(100_000_000);
});

test("drops a client that has stopped reading", async () => {
  const dropped = Promise.withResolvers<void>();
  const { ask } = await serve(
    async (stream) => {
      while (!stream.signal.aborted) {
        await stream.room();
        stream.send({ data: "x".repeat(100_000) });
      }
      dropped.resolve();
    },
    { heartbeatMs: 50 },
  );
  await ask();
  await dropped.promise;
});

test("sends a message of any length to a client that reads", async () => {
  const { ask } = await serve(async (stream) => {
    stream.send({ data: "x".repeat(5_000_000) });
    await stream.room();
    stream.send({ id: 2 });
    stream.end();
  });
  const all = await text(await ask());
  expect(all).toHaveLength("retry: 1000\n\n".length + 'data: ""\n\nid: 2\n\n'.length + 5_000_000);
});

test("has a limit for each and one for all", async () => {
  const { ask } = await serve(() => {}, { most: 3, mostOfOne: 2 });
  const responses: IncomingMessage[] = [];
  for (const of of ["a", "a", "a", "b", "b", "c"]) responses.push(await ask(of));
  expect(responses.map(({ statusCode }) => statusCode === 200)).toEqual([
    true,
    true,
    false,
    true,
    false,
    false,
  ]);
});

test("ends with the app, even for a client that does not read", async () => {
  const { app, ask } = await serve(async (stream) => {
    while (!stream.signal.aborted) {
      await stream.room();
      stream.send({ data: "x".repeat(100_000) });
    }
  });
  await ask();
  await app.close();
});
