import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, connect, createServer } from "node:net";
import { beforeAll, expect, onTestFinished, test } from "vitest";
import { Holds } from "../../src/reingest/hold.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});

function openHolds(url = database.url): Holds {
  const holds = new Holds(url, "loregraph");
  onTestFinished(() => holds.end());
  return holds;
}

test("a reingest is held by one process at a time, and only once by that", async () => {
  const [one, other, id] = [openHolds(), openHolds(), randomUUID()];

  expect(await one.take(id)).toBeInstanceOf(AbortSignal);
  expect(await one.take(id)).toBeUndefined();
  expect(await other.take(id)).toBeUndefined();
  await one.free(id);
  expect(await other.take(id)).toBeInstanceOf(AbortSignal);
});

test("a connection that breaks before it is ready is made again", async () => {
  const holds = openHolds(await throughProxy(database.url, "idle_session_timeout"));

  await expect(holds.take(randomUUID())).rejects.toThrow();
  expect(await holds.take(randomUUID())).toBeInstanceOf(AbortSignal);
});

/** The same database through a proxy that breaks the connection over which `word` is first sent. */
async function throughProxy(url: string, word: string): Promise<string> {
  const target = new URL(url);
  const [port, host] = [Number(target.port), target.hostname];
  let broken = false;
  const proxy = createServer((client) => {
    const server = connect(port, host);
    for (const socket of [client, server]) socket.on("error", () => client.destroy());
    client
      .on("close", () => server.destroy())
      .on("data", (data) => {
        if (broken || !data.includes(word)) return void server.write(data);
        broken = true;
        client.destroy();
      });
    server.pipe(client);
  }).listen(0, "127.0.0.1");
  await once(proxy, "listening");
  onTestFinished(() => void proxy.close());
  target.host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  return target.href;
}
