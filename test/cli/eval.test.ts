/** The command `eval`: examples scored, stored and compared. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { completion, key, serverAnswering } from "../models/server.ts";
import { emptyFolder, fileInTest, run } from "../support/cli.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";

// Each is a process or several, on a machine that may be busy.
vi.setConfig({ testTimeout: 300_000 });

const scene = (name: string, text: string, mood: string | null) =>
  JSON.stringify({ name, input: { text }, expected: { mood } });
const quarrel = scene("a quarrel", "“You lied to me,” she snapped. “Get out of my house!”", "hostile");
const silence = scene("nobody speaks", "It rained all day.", null);
const joy = scene("a joke that the rules miss", "“Two pounds of flour,” said the woman.", "playful");

const evaluate = async (lines: readonly string[], args: readonly string[], settings = {}) =>
  await run(
    ["eval", "dialog-mood", "--data", await fileInTest("e.jsonl", lines.join("\n")), ...args],
    settings,
  );

describe("without a database", () => {
  test("scores each field with an interval and shows the worst cases", async () => {
    const { code, out, err } = await evaluate([quarrel, silence, joy], ["--no-store"]);

    expect(code).toBe(0);
    expect(err).toContain("no model is configured: dialog-mood reads by its local rules");
    expect(out).toMatch(/\nmood {3}exact {4}3 {9}0\.667 {2}0\.208 to 0\.939\n/);
    expect(out).toContain(
      'not right:\n  a joke that the rules miss: 0.00\n    mood 0.00: expected "playful", got "neutral"',
    );
  });

  test("ends with 1 below a threshold, of one field or of all, and says by how much", async () => {
    const short = await evaluate([quarrel, joy], ["--no-store", "--threshold", "mood=0.6"]);
    const enough = await evaluate(
      [quarrel, joy],
      ["--no-store", "--threshold", "mood=0.5", "--threshold", "0.9"],
    );
    const unknown = await evaluate([quarrel], ["--no-store", "--threshold", "moody=0.5"]);

    expect(short).toMatchObject({
      code: 1,
      err: expect.stringContaining("mood: expected a score of 0.6 at least, got: 0.500"),
    });
    expect(enough.code).toBe(0);
    expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining("(mood), got: moody") });
    // Nothing was run, and nothing paid for, before that was seen.
    expect(unknown.err).not.toContain("evaluating");
  });

  test("runs the others where lines are broken, and ends with 3; with nothing left, with 2", async () => {
    const some = await evaluate([quarrel, "{", silence], ["--no-store", "--json"]);
    const none = await evaluate([""], ["--no-store"]);

    expect(some).toMatchObject({
      code: 3,
      err: expect.stringMatching(/e\.jsonl:2: rejected: expected JSON/),
    });
    expect(JSON.parse(some.out)).toMatchObject({ rejected: 1, failed: 0, cases: [{}, {}] });
    expect(none).toMatchObject({ code: 2, err: expect.stringContaining("holds no example: it is empty") });
  });

  test("counts a failed answer as wrong, shows why, and ends with 3", async () => {
    const { url } = await serverAnswering(() => completion({ content: "no JSON at all" }));

    const { code, out } = await evaluate([quarrel, silence], ["--no-store"], served(url));

    expect(code).toBe(3);
    expect(out).toContain("1 ended without an answer and count as wrong");
    expect(out).toMatch(/a quarrel: 0\.00\n {4}MODEL_ANSWER_INVALID: node "readTalks"/);
  });

  test("replays exactly what it recorded", async () => {
    const folder = await emptyFolder();
    onTestFinished(() => rm(folder, { recursive: true }));
    const tape = join(folder, "tape.jsonl");
    const answer = { evidence: "Get out", mood: "hostile", valence: -0.9, confidence: 0.9 };
    const { url } = await serverAnswering(() => completion({ content: JSON.stringify(answer) }));
    // Nobody is asked: a replay takes another time, and no tokens.
    const answered = ({ out }: { out: string }) => {
      const {
        ms: _,
        cost_usd: __,
        tokens_in: ___,
        tokens_out: ____,
        data: _____,
        cases,
        ...same
      } = JSON.parse(out);
      return {
        ...same,
        cases: cases.map(({ name, answer, scores }: Record<string, unknown>) => ({ name, answer, scores })),
      };
    };

    const recorded = await evaluate([quarrel, joy], ["--no-store", "--json", "--record", tape], served(url));
    const replayed = await evaluate([quarrel, joy], ["--no-store", "--json", "--replay", tape]);
    const more = await evaluate([scene("new", "“Ho!” he said.", null)], ["--no-store", "--replay", tape]);

    expect(recorded).toMatchObject({ code: 0 });
    expect(answered(replayed)).toEqual(answered(recorded));
    expect(JSON.parse(replayed.out)).toMatchObject({ cost_usd: 0, tokens_in: 0 });
    expect(more).toMatchObject({ code: 2, err: expect.stringContaining("is not on the tape") });
    expect(more.err).toMatch(/^error: node "readTalks" asked \(chat/m);
  });
});

const served = (url: string) => ({ OPENAI_API_KEY: key, OPENAI_BASE_URL: `${url}/v1` });

describe("stored", () => {
  let database: TestDatabase;
  const json = async (args: readonly string[]) => {
    const { code, out, err } = await run([...args, "--json"], { DATABASE_URL: database.url });
    expect({ code, err }).toMatchObject({ code: 0 });
    return JSON.parse(out);
  };

  beforeAll(async () => {
    database = await testDatabase();
  });

  test("evaluations are listed, shown, and compared example by example", async () => {
    const settings = { DATABASE_URL: database.url };
    const { url } = await serverAnswering(() =>
      completion({ content: JSON.stringify({ evidence: "", mood: "playful", valence: 0, confidence: 0.9 }) }),
    );
    const first = JSON.parse((await evaluate([quarrel, silence, joy], ["--json"], settings)).out);
    const lines = [quarrel, silence, joy, scene("one more", "“Ho!” he said.", "playful")];
    const second = JSON.parse(
      (await evaluate(lines, ["--json", "--compare", "last"], { ...settings, ...served(url) })).out,
    );

    expect(second.compared_with).toBe(first.id);
    expect(second.comparison).toMatchObject({
      fields: [{ field: "mood", pairs: 3, before: 2 / 3, after: 2 / 3, difference: 0, clear: false }],
      better: [{ name: "a joke that the rules miss", before: 0, after: 1 }],
      worse: [{ name: "a quarrel", before: 1, after: 0 }],
      unpaired: 1,
    });
    expect(second.comparison.changed.map(({ what }: { what: string }) => what)).toEqual([
      "model",
      "examples",
    ]);

    expect((await json(["eval", "list"])).map(({ id }: { id: string }) => id)).toEqual([second.id, first.id]);
    expect(await json(["eval", "show", first.id])).toMatchObject({
      model: "wink-rules-1",
      fields: first.fields,
      cases: first.cases,
    });
    expect(await json(["eval", "dialog-mood", "--compare", first.id, second.id])).toEqual({
      before: first.id,
      after: second.id,
      ...second.comparison,
    });
    const { out } = await run(["eval", "dialog-mood", "--compare", first.id, second.id], settings);
    expect(out).toMatch(/^what changed:\n {2}model: wink-rules-1 → gpt-4o-mini\n/);
    expect(out).toMatch(
      /mood {3}3 {9}0\.667 {3}0\.667 {2}\+0\.000 {6}-?\+?-?\d\.\d+ to \+\d\.\d+ {2}may be chance/,
    );
  });

  test("none is compared with what is not there", async () => {
    const settings = { DATABASE_URL: database.url };
    const none = "00000000-0000-4000-8000-000000000000";

    expect(await run(["eval", "base", "--compare", "last"], settings)).toMatchObject({
      code: 2,
      err: expect.stringContaining("nothing of base was evaluated before"),
    });
    expect(await run(["eval", "show", none], settings)).toMatchObject({
      code: 2,
      err: expect.stringContaining(`there is no evaluation ${none}`),
    });
  });
});
