import { appendFile, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { loregraphError } from "../../src/errors.ts";
import { openTapedModels, type TapeOptions } from "../../src/models/taped.ts";
import { Entity } from "../../src/pipeline.ts";
import { tryGraph } from "../../src/try/run.ts";
import { emptyFolder } from "../support/cli.ts";
import { echo } from "../support/pipelines.ts";
import { completion, embeddings, key, localSettings, serverAnswering, settingsFor } from "./server.ts";

/** A path for a tape, in a folder that goes with the test. */
async function tapePath(): Promise<string> {
  const folder = await emptyFolder();
  onTestFinished(() => rm(folder, { recursive: true }));
  return join(folder, "tape.jsonl");
}

/** A server that says what number a question was. */
const counting = async () => {
  let asked = 0;
  return await serverAnswering(({ path }) =>
    path.endsWith("/embeddings")
      ? embeddings([Array.from({ length: 1_536 }, () => asked + 1)])
      : completion({ content: `answer ${++asked}` }),
  );
};

async function opened(url: string | undefined, options: TapeOptions) {
  const taped = await openTapedModels(url ? settingsFor(url) : localSettings, options);
  onTestFinished(() => taped.close());
  return taped.open().lend({ known: async () => new Map() });
}

const ask = async ({ model }: Awaited<ReturnType<typeof opened>>, question: string) =>
  (await model?.invoke(question))?.text;

const codeOf = (running: Promise<unknown>) =>
  running.then(
    () => "answered",
    (error: unknown) => loregraphError(error)?.code,
  );

test("replays what it recorded, with neither key nor server, and costs nothing", async () => {
  const [path, { url, requests }] = [await tapePath(), await counting()];
  const recorded = await opened(url, { record: path });
  const said = [await ask(recorded, "one?"), await ask(recorded, "two?"), await recorded.embed(["three"])];

  const replayed = await opened(undefined, { replay: path });

  expect([await ask(replayed, "one?"), await ask(replayed, "two?"), await replayed.embed(["three"])]).toEqual(
    said,
  );
  expect(said).toEqual(["answer 1", "answer 2", [Array.from({ length: 1_536 }, () => 3)]]);
  expect(requests).toHaveLength(3);
  expect(recorded.usage().cost_usd).toBeGreaterThan(0);
  expect(replayed.usage()).toMatchObject({ model_calls: 0, tokens_in: 0, cost_usd: 0 });
});

test("holds no key and no header", async () => {
  const [path, { url }] = [await tapePath(), await counting()];
  await ask(await opened(url, { record: path }), "one?");

  const written = await readFile(path, "utf8");

  expect(written).toContain("one?");
  expect(written).not.toContain(key);
  expect(written).not.toMatch(/authorization|bearer|user-agent/i);
});

test("asks the same question once, at one moment or later, and goes on with a tape that is there", async () => {
  const [path, { url, requests }] = [await tapePath(), await counting()];
  const first = await opened(url, { record: path });
  const together = await Promise.all(
    ["one?", "one?", "two?", "one?"].map((question) => ask(first, question)),
  );
  const later = await opened(url, { record: path });

  expect(new Set([together[0], together[1], together[3], await ask(later, "one?")]).size).toBe(1);
  expect(await ask(later, "three?")).toBe("answer 3");
  expect(requests).toHaveLength(3);
});

test("names the node that asks what is not on the tape, and asks nobody", async () => {
  const [path, { url, requests }] = [await tapePath(), await counting()];
  await ask(await opened(url, { record: path }), "one?");
  const { model, embed } = await opened(url, { replay: path });
  const pipeline = echo(async (_, __, tools) => ({
    said: (await tools.model?.invoke("another?"))?.text,
  }));
  const entity = Entity.parse({ tenant_id: id, source_type: "scene", source_id: id, version: 1 });
  const read = {
    passages: async () => [],
    mentioned: async () => [],
    previous: async () => undefined,
    enrichment: async () => undefined,
  };

  const trial = tryGraph({
    pipeline,
    tools: { model, embed, read },
    entity,
    signal: new AbortController().signal,
  });

  await expect(trial).rejects.toMatchObject({
    code: "TAPE_INCOMPLETE",
    message: expect.stringMatching(
      /node "say" asked \(chat, gpt-4o-mini\), and its answer is not on the tape .*tape.jsonl/,
    ),
  });
  expect(requests).toHaveLength(1);
});

const id = "6f1f0a52-7d0b-4c7e-9a55-0c1d2e3f4a5b";

test("leaves out a last line that a kill cut off, and writes on after it", async () => {
  const [path, { url }] = [await tapePath(), await counting()];
  await ask(await opened(url, { record: path }), "one?");
  await appendFile(path, '{"key":"half of a li');

  expect(await ask(await opened(undefined, { replay: path }), "one?")).toBe("answer 1");
  expect(await ask(await opened(url, { record: path }), "two?")).toBe("answer 2");
  expect(await ask(await opened(undefined, { replay: path }), "two?")).toBe("answer 2");
  expect(await readFile(path, "utf8")).not.toContain("half of a li");
});

test("keeps no answer that was none", async () => {
  let refused = true;
  const path = await tapePath();
  const { url } = await serverAnswering(() =>
    refused ? { status: 500, body: { error: { message: "down" } } } : completion({ content: "up" }),
  );
  const models = await opened(url, { record: path });

  expect(await codeOf(ask(models, "one?"))).toBe("MODEL_UNAVAILABLE");
  refused = false;
  expect(await ask(models, "one?")).toBe("up");
});

test("that the local rules recorded is replayed by them, whatever is configured", async () => {
  const path = await tapePath();
  await (await openTapedModels(localSettings, { record: path })).close();

  const taped = await openTapedModels(settingsFor("http://127.0.0.1:9"), { replay: path });

  expect(taped.open().local).toBe(true);
});

test.each([
  ["is not there", ""],
  ["is no tape", "never mind\n"],
  ["has a broken line inside", "{\n{}\n"],
])("refuses a file that %s", async (_, content) => {
  const path = await tapePath();
  if (content) await appendFile(path, content);

  expect(await codeOf(openTapedModels(localSettings, { replay: path }))).toBe("FILE_UNREADABLE");
});

test("is recorded or replayed, not both", async () => {
  expect(await codeOf(openTapedModels(localSettings, { record: "a", replay: "b" }))).toBe("INPUT_INVALID");
});
