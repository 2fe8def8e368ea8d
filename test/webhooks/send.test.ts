import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { openSender } from "../../src/webhooks/send.ts";
import { forever } from "../support/runtime.ts";
import { startSubscriber } from "../support/subscriber.ts";

const secret = `whsec_${Buffer.alloc(32, 1).toString("base64")}`;

function to(url: string) {
  const tenant_id = randomUUID();
  const event = {
    id: 7,
    event: "entity.ingested",
    tenant_id,
    source_type: "scene" as const,
    source_id: randomUUID(),
    version: 1,
    occurred_at: new Date().toISOString(),
    metadata: { title: "Mara’s pier ✓" },
  };
  return { id: "message_7", url, secret, event };
}

const send = openSender({ timeoutMs: 10_000, toPrivate: true });

test("counts its body in bytes", async () => {
  const subscriber = await startSubscriber();

  expect(await send(to(subscriber.url))).toEqual({ status: 204, after: undefined });
  expect(subscriber.received[0]?.event.metadata).toEqual({ title: "Mara’s pier ✓" });
});

test("follows no redirect", async () => {
  const elsewhere = await startSubscriber();
  const subscriber = await startSubscriber((_, response) => {
    response.setHeader("location", elsewhere.url);
    return 307;
  });

  expect(await send(to(subscriber.url))).toMatchObject({ status: 307 });
  expect(elsewhere.received).toEqual([]);
});

test("hangs up on an answer that goes on and on", async () => {
  const hungUp = Promise.withResolvers<void>();
  const subscriber = await startSubscriber((_, response) => {
    response.writeHead(200).on("close", () => hungUp.resolve());
    const more = () => {
      while (!response.destroyed && response.write("x".repeat(8_192)));
    };
    response.on("drain", more);
    more();
    return undefined;
  });

  expect(await send(to(subscriber.url))).toMatchObject({ status: 200 });
  await hungUp.promise;
});

test("takes a status for the answer, though its body never ends", async () => {
  const subscriber = await startSubscriber((_, response) => {
    response.writeHead(200).write("well, ");
    return undefined;
  });

  expect(await openSender({ timeoutMs: 200, toPrivate: true })(to(subscriber.url))).toMatchObject({
    status: 200,
  });
});

test("uses a connection again, and makes another where that was just closed", async () => {
  const subscriber = await startSubscriber();
  for (let n = 0; n < 3; n++) await send(to(subscriber.url));
  expect(subscriber.connections).toBe(1);

  // The subscriber breaks the kept connection when the next delivery comes in on it.
  let broken = false;
  subscriber.answer((_, response) => {
    if (broken) return 204;
    broken = true;
    response.destroy();
    return undefined;
  });

  expect(await send(to(subscriber.url))).toMatchObject({ status: 204 });
  expect(subscriber.connections).toBe(2);
});

test("says why there is no answer", async () => {
  const dead = await startSubscriber();
  await dead.die();

  await expect(send(to(dead.url))).rejects.toMatchObject({
    code: "WEBHOOK_FAILED",
    message: "the subscriber could not be reached: ECONNREFUSED",
  });
});

test("does not try for ever where each connection is broken", async () => {
  const subscriber = await startSubscriber((_, response) => {
    response.destroy();
    return undefined;
  });

  await expect(send(to(subscriber.url))).rejects.toMatchObject({
    message: "the subscriber could not be reached: ECONNRESET",
  });
});

test("stops waiting when it is told to, and says what it was told", async () => {
  const subscriber = await startSubscriber(() => forever());
  const stop = new AbortController();
  const sent = send(to(subscriber.url), stop.signal);
  await subscriber.heard(1);
  stop.abort(new Error("enough"));

  await expect(sent).rejects.toThrow("enough");
});

test.each(["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433"])(
  "does not go to %s unless it may",
  async (host) => {
    const subscriber = await startSubscriber();
    const url = subscriber.url.replace("127.0.0.1", host);
    const cautious = openSender({ timeoutMs: 10_000, toPrivate: false });

    await expect(cautious(to(url))).rejects.toMatchObject({
      code: "WEBHOOK_FAILED",
      message: expect.stringContaining("not a public one"),
    });
    expect(subscriber.connections).toBe(0);
  },
);
