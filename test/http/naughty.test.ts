/** Texts on which programs are known to stumble, through every field that takes a text. */

import { randomUUID } from "node:crypto";
import { beforeAll, describe, expect, test } from "vitest";
import { loadRegistry } from "../../src/registry.ts";
import { storableText } from "../../src/store/storable.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { openTestApp, type TestApp } from "../support/http.ts";
import { type Field, naughty, type Outcome, textFields } from "../support/naughty.ts";
import { runtime, startWorker } from "../support/runtime.ts";

let database: TestDatabase;
let context: Context;
let api: TestApp;

beforeAll(async () => {
  database = await testDatabase();
  const registry = await loadRegistry();
  context = { ...runtime(database), registry: new Map([...registry].filter(([name]) => name === "base")) };
  api = await openTestApp(context);
});

function isRefusal({ status, code }: Outcome): boolean {
  return (status === 400 && code === "INPUT_INVALID") || status === 404;
}

/** What became of each text in a field, where it is neither there as it was sent nor refused. */
async function spoilt({ name, put }: Field): Promise<readonly unknown[]> {
  const wrong: unknown[] = [];
  for (const text of naughty) {
    const outcome = await put(text);
    const [read, expected] = outcome.back ?? [];
    const isSame = JSON.stringify(read) === JSON.stringify(expected);
    if (outcome.status < 300 ? !isSame : !isRefusal(outcome)) wrong.push([name, text, outcome]);
  }
  return wrong;
}

test("what is taken reads back as it was sent, and what is not is refused", async () => {
  const fields = textFields(context, api);

  expect((await Promise.all(fields.map(spoilt))).flat()).toEqual([]);
});

describe("the texts", () => {
  const url = () => `/tenants/${api.foreign}`;

  beforeAll(async () => {
    const entities = naughty.map((text) => ({
      source_type: "lore",
      source_id: randomUUID(),
      title: text,
      text: `${text} `.repeat(5),
    }));
    await api.ask({ method: "PUT", url: `${url()}/entities`, payload: { entities } });
  });

  test("are ingested", async () => {
    const all = Promise.withResolvers<void>();
    let ended = 0;
    const onEnded = () => {
      ended++;
      if (ended === naughty.length) all.resolve();
    };
    await using worker = startWorker(context, database, { onEnded });
    await all.promise;

    expect(worker.endings.filter(({ ending }) => ending.kind !== "answered")).toEqual([]);
  });

  test("are searched for, and what is shown is a part of one", async () => {
    const texts = naughty.map((text) => plain(storableText(`${text} `.repeat(5))));
    let hits = 0;
    for (const text of naughty.filter((each) => storableText(each) === each)) {
      const found = await api.ask({ url: `${url()}/search?q=${encodeURIComponent(text)}` });
      expect(found.statusCode, JSON.stringify(text)).toBe(200);
      for (const { excerpt } of found.json().items) {
        hits++;
        expect(texts.some((each) => each.includes(plain(excerpt)))).toBe(true);
      }
    }

    expect(hits).toBeGreaterThan(naughty.length / 2);
  });
});

/** Without the marks of found words, which a text may have, too. */
function plain(text: string): string {
  return text.replaceAll(/[«»]/g, "");
}
