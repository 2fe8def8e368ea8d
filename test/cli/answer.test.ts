import { randomUUID } from "node:crypto";
import { beforeAll, beforeEach, expect, test, vi } from "vitest";
import { run, type Said } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { parkWith, runOf, started } from "../support/ledger.ts";
import { startProcess } from "../support/process.ts";
import { emptyLedger } from "../support/runtime.ts";

vi.setConfig({ testTimeout: 120_000 }); // processes, on a machine that may be busy

let database: TestDatabase;
let settings: Record<string, string>;
beforeAll(async () => {
  database = await testDatabase();
  settings = { DATABASE_URL: database.url };
});
beforeEach(() => emptyLedger(database));

const [one, other] = ["1".repeat(32), "2".repeat(32)];
const lore = (...args: string[]): Promise<Said> => run(args, settings);

async function waiting(...ids: readonly string[]) {
  const asking = await started(database.pool, { pipeline: "dialog-mood" });
  await parkWith(
    database.pool,
    asking,
    ids.map((id) => ({ id, question: { who: `is ${id.slice(0, 1)}?` } })),
  );
  return asking;
}

test("a run that waits shows what it asks and since when, is answered, and tells by whom", async () => {
  const asking = await waiting(one);
  const listed = await lore("runs", "--status", "waiting");
  expect(listed.out).toMatch(
    new RegExp(`\n {2}run ${asking.id}\n {2}asks, since \\d+ s: {"who":"is 1\\?"}\n`),
  );

  expect(await lore("answer", asking.id, '"Mara"', "--as", "Ines")).toEqual({
    ...{ code: 0, out: "it goes on where it stopped\n", err: "" },
  });
  expect((await runOf(database.pool, asking)).status).toBe("pending");
  const shown = await lore("runs", "show", asking.id, "--tenant", asking.tenant_id);
  expect(shown.out).toMatch(
    new RegExp(
      `\nquestion ${one}, asked \\d+ s ago\n {2}{"who":"is 1\\?"}\n {2}answered by Ines, \\d+ s ago: "Mara"\n`,
    ),
  );

  expect(await lore("answer", asking.id, '"Anna"')).toMatchObject({
    ...{
      code: 2,
      out: "",
      err: expect.stringMatching(/waits for no answer: it is pending; it was answered by Ines/),
    },
  });
});

test("one of several questions is answered by its id, or each by an object of their ids", async () => {
  const asking = await waiting(one, other);
  expect(await lore("answer", asking.id, "7")).toMatchObject({
    ...{ code: 2, err: expect.stringContaining(`${one} ({"who":"is 1?"}), ${other} (`) },
  });
  const first = await lore("answer", asking.id, "7", "--question", one, "--json");
  expect(JSON.parse(first.out)).toEqual({ id: asking.id, status: "waiting", open: [other] });
  const again = await lore("answer", asking.id, "8", "--question", one);
  expect(again).toMatchObject({ code: 2, err: expect.stringContaining("was answered by command line at") });

  expect((await lore("answer", asking.id, JSON.stringify({ [other]: null }))).code).toBe(0);
  expect((await runOf(database.pool, asking)).status).toBe("pending");
});

test("an answer is read from stdin", async () => {
  const asking = await waiting(one);
  const command = startProcess("../../src/cli/main.ts", ["answer", asking.id, "-"], { env: settings });
  command.child.stdin.write('{ "name": "Mara" }\n');

  expect(await command.finish()).toEqual({ code: 0, signal: null });
  const { rows } = await database.pool.query("select answer from questions where run_id = $1", [asking.id]);
  expect(rows).toEqual([{ answer: { name: "Mara" } }]);
});

test("what is no JSON, and a run that is not there, are wrong use", async () => {
  const asking = await waiting(one);
  expect(await lore("answer", asking.id, "Mara")).toMatchObject({
    ...{ code: 2, err: expect.stringContaining(`(a text in quotation marks: '"Mara"'), got: Mara`) },
  });
  expect(await lore("answer", randomUUID(), "1")).toMatchObject({
    ...{ code: 2, err: expect.stringContaining("NOT_FOUND") },
  });
});
