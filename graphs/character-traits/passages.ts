import { z } from "zod";
import { splitChunks } from "../../src/content/chunk.ts";
import { type Entity, Passage, type Reader } from "../../src/pipeline.ts";
import { mentioning, namesOf } from "./names.ts";

/** A passage with the number that claims name it by; `own` where it is the character's own text. */
export const NumberedPassage = z.object({
  number: z.int().nonnegative(),
  own: z.boolean(),
  passage: Passage,
});
export type NumberedPassage = z.infer<typeof NumberedPassage>;

/** Up to so many characters go into one question, which is about 3,000 tokens of English. */
const mostCharacters = 12_000;
/** Tokens of a piece of an own text that is longer than that. */
const budget = 2_000;

/** No more passages are looked up: of a main character, they show the lasting traits many times over. */
const mostPassages = 200;

/** What was found to read; `reason` says why there may be more. */
export type Gathered = { readonly gathered: NumberedPassage[]; readonly reason: string | null };

/** The character's own text, then the passages of others that name it, in reading order. */
export async function gatherPassages(entity: Entity, read: Reader): Promise<Gathered> {
  const { passages, isSample } = await passagesOfOthers(entity, read);
  const gathered = [...ownText(entity), ...passages].map((passage, number) => ({
    number,
    own: passage.source_id === entity.source_id,
    passage,
  }));
  const reason = `no more than ${mostPassages} passages that name it are read: an even sample where there are more`;
  return { gathered, reason: isSample ? reason : null };
}

/**
 * The passages of other entities that name the character, in reading order. Where there are more than 200, they are an
 * even sample: `isSample` says that there may be.
 */
export async function passagesOfOthers(entity: Entity, read: Reader) {
  const names = namesOf(entity);
  const found = names.length > 0 ? await read.passages(names, mostPassages) : [];
  return {
    passages: mentioning(found, names).filter(({ source_id }) => source_id !== entity.source_id),
    isSample: found.length === mostPassages,
  };
}

function ownText({ source_type, source_id, title, text }: Entity): readonly Passage[] {
  if (text.trim() === "") return [];
  const whole = { path: title, text, start: 0, end: text.length };
  const pieces =
    text.length > mostCharacters ? splitChunks(text, { title, utterances: [], budget }) : [whole];
  return pieces.map(({ path, text, start, end }) => ({ source_type, source_id, path, text, start, end }));
}

/** The passages in questions of bearable length, in order; a passage that is too long has one to itself. */
export function batchesOf(passages: readonly NumberedPassage[]): NumberedPassage[][] {
  const batches: NumberedPassage[][] = [];
  let room = 0;
  for (const numbered of passages) {
    const { length } = numbered.passage.text;
    if (length > room || batches.length === 0) {
      batches.push([]);
      room = mostCharacters;
    }
    batches.at(-1)?.push(numbered);
    room -= length;
  }
  return batches;
}
