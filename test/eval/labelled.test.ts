import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { z } from "zod";
import { TraitName } from "../../graphs/character-traits/schema.ts";
import { DialogMood } from "../../graphs/dialog-mood/schema.ts";

/** Where a passage stands. Its words are in no file of ours: `--texts` names the folder that holds the book. */
const Place = z
  .strictObject({
    work: z.string().min(1),
    edition: z.string().min(1),
    file: z.string().regex(/^[\w.-]+\.txt$/),
    start: z.int().nonnegative(),
    end: z.int().positive(),
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  })
  .refine(({ start, end }) => start < end);

const by = z.string().min(1);
const how = z.string().regex(/agreed|differed/);
const Mood = DialogMood.pick({ mood: true }).extend({ valence: DialogMood.shape.valence.nullable() });
const Traits = z.array(TraitName).min(1);

/** Exactly two readings of each: what is said of how far they agree rests on all of them. */
const twoOf = <Reading extends z.ZodType>(reading: Reading) => z.tuple([reading, reading]);

const MoodLine = z.strictObject({
  name: z.string().min(1),
  input: z.strictObject({ source_type: z.literal("scene") }),
  passage: Place,
  expected: z.strictObject({
    mood: DialogMood.shape.mood,
    valence: DialogMood.shape.valence.optional(),
    lines: DialogMood.shape.lines,
  }),
  labelled: z.strictObject({
    by,
    how,
    taken: z.enum(["by lot", "chosen"]),
    readings: twoOf(Mood.partial({ valence: true })),
  }),
});

const TraitLine = z.strictObject({
  name: z.string().min(1),
  input: z.strictObject({
    source_type: z.literal("character"),
    title: z.string().min(1),
    metadata: z.strictObject({
      aliases: z.array(z.string().min(1)).min(1).optional(),
      language: z.literal("en"),
    }),
  }),
  passages: z.array(Place).min(1),
  expected: z.strictObject({ traits: Traits }),
  labelled: z.strictObject({ by, how, readings: twoOf(Traits) }),
});

function linesOf<Line extends z.ZodType>(pipeline: string, line: Line): z.infer<Line>[] {
  return readFileSync(`graphs/${pipeline}/labelled.jsonl`, "utf8")
    .trimEnd()
    .split("\n")
    .map((written) => line.parse(JSON.parse(written)));
}

const moods = linesOf("dialog-mood", MoodLine);
const traits = linesOf("character-traits", TraitLine);

test.each([
  ["dialog-mood", moods],
  ["character-traits", traits],
])("%s has at least 30 labelled examples, each under a name of its own", (_, lines) => {
  expect(lines.length).toBeGreaterThanOrEqual(30);
  expect(new Set(lines.map(({ name }) => name)).size).toBe(lines.length);
});

test("every mood has several examples, and so has silence", () => {
  const counted = Map.groupBy(moods, ({ expected }) => expected.mood);

  expect([...counted.keys()].toSorted()).toEqual(
    [...Object.values(DialogMood.shape.mood.unwrap().enum), null].toSorted(),
  );
  for (const [mood, lines] of counted) expect(lines.length, String(mood)).toBeGreaterThanOrEqual(4);
});

test("a passage without a mood is one without a spoken line", () => {
  for (const { name, expected } of moods) expect(expected.mood === null, name).toBe(expected.lines === 0);
});

test("a label is from one of its two readings, and says whether they agreed", () => {
  for (const { name, expected, labelled } of moods) {
    expect(
      labelled.readings.map(({ mood }) => mood),
      name,
    ).toContain(expected.mood);
    expect(labelled.how.includes("agreed"), name).toBe(
      labelled.readings[0].mood === labelled.readings[1].mood,
    );
  }
  for (const { name, expected, labelled } of traits) {
    const [one, other] = labelled.readings;
    expect(new Set([...one, ...other]), name).toEqual(new Set([...one, ...other, ...expected.traits]));
    expect(labelled.how.includes("agreed"), name).toBe(one.toSorted().join() === other.toSorted().join());
  }
});

/** How often two readings agree, beyond what chance would give: 1 is always, 0 is as by chance. */
function cohensKappa(pairs: readonly (readonly [string, string])[]): number {
  const share = (side: 0 | 1, mood: string) =>
    pairs.filter((pair) => pair[side] === mood).length / pairs.length;
  const seen = pairs.filter(([one, other]) => one === other).length / pairs.length;
  const all = [...new Set(pairs.flat())];
  const chance = all.reduce((sum, mood) => sum + share(0, mood) * share(1, mood), 0);
  return (seen - chance) / (1 - chance);
}

/** Words that both readings give, against all that either gives. */
function f1(pairs: readonly (readonly [readonly string[], readonly string[]])[]): number {
  const both = pairs.flatMap(([one, other]) => one.filter((word) => other.includes(word)));
  return (2 * both.length) / pairs.flat(2).length;
}

test("docs/quality.md says how far the two readings agree", () => {
  const stated = readFileSync("docs/quality.md", "utf8");
  const kappa = cohensKappa(
    moods.map(
      ({
        labelled: {
          readings: [one, other],
        },
      }) => [String(one.mood), String(other.mood)],
    ),
  );

  expect(stated).toContain(`Cohen's kappa ${kappa.toFixed(2)}`);
  expect(stated).toContain(`F1 ${f1(traits.map(({ labelled }) => labelled.readings)).toFixed(2)}`);
});
