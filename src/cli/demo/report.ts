import { z } from "zod";
import type { Db } from "../../db.ts";
import { type Tally, tallyRuns } from "../../ledger/read.ts";
import { type Entity, SourceType } from "../../pipeline.ts";
import { enrichmentsBy } from "../../store/enrichments.ts";
import { countEntities, entitiesOfType, readEntity, type TypeCount } from "../../store/entities.ts";

const Mood = z.object({
  mood: z.string().nullable(),
  valence: z.number(),
  evidence: z.string(),
  exchanges: z.array(z.object({ mood: z.string(), valence: z.number(), evidence: z.string() })),
  reason: z.string().optional(),
});

const Evidence = z.object({
  quote: z.string(),
  source_type: SourceType,
  source_id: z.guid(),
  start: z.int(),
  end: z.int(),
});
type Evidence = z.infer<typeof Evidence>;

const Traits = z.object({
  traits: z.array(z.object({ trait: z.string(), evidence: z.array(Evidence) })),
  reason: z.string().nullable(),
});

export type SceneMood = z.infer<typeof Mood> & { readonly title: string; readonly source_id: string };

/** A trait with the best quote for it, in the line where it stands; `from` is empty for the character's own sheet. */
export type ShownTrait = { readonly trait: string; readonly line: string; readonly from: string };
export type CharacterTraits = {
  readonly name: string;
  readonly source_id: string;
  readonly traits: readonly ShownTrait[];
  readonly reason: string | null;
};

/** What the demo learnt, and what this run of it used. */
export type DemoReport = {
  readonly tenant_id: string;
  readonly models: { readonly chat: string | null; readonly embeddings: string; readonly local: boolean };
  readonly entities: readonly TypeCount[];
  readonly scenes: readonly SceneMood[];
  readonly characters: readonly CharacterTraits[];
  readonly used: Used;
  readonly seconds: number;
};

/** What the ended runs of a tenant used. */
export type Used = {
  readonly runs: number;
  readonly failed: number;
  readonly model_calls: number;
  readonly embedding_calls: number;
  readonly vectors_reused: number;
  readonly tokens: number;
  readonly cost_usd: number;
};

export async function gatherReport(
  db: Db,
  tenant_id: string,
  before: Used,
): Promise<Omit<DemoReport, "models" | "seconds">> {
  return {
    tenant_id,
    entities: await countEntities(db, tenant_id),
    scenes: await sceneMoods(db, tenant_id),
    characters: await characterTraits(db, tenant_id),
    used: difference(await usedBy(db, tenant_id), before),
  };
}

/** The scenes in reading order: chapter by chapter, then in the chapter's order. */
async function sceneMoods(db: Db, tenant_id: string): Promise<readonly SceneMood[]> {
  const moods = await outputsOf(db, tenant_id, "dialog-mood");
  const chapters = new Map(
    (await entitiesOfType(db, tenant_id, "chapter")).map((c) => [c.source_id, orderOf(c)]),
  );
  const place = (scene: Entity) =>
    [chapters.get(String(scene.metadata.parent_id)) ?? 0, orderOf(scene)] as const;
  return (await entitiesOfType(db, tenant_id, "scene"))
    .toSorted((a, b) => place(a)[0] - place(b)[0] || place(a)[1] - place(b)[1])
    .map((scene) => {
      const output = moods.get(scene.source_id);
      return {
        title: scene.title,
        source_id: scene.source_id,
        ...(output ? Mood.parse(output) : unread(scene)),
      };
    });
}

function unread({ metadata }: Entity): z.infer<typeof Mood> {
  const reason = metadata.content_kind === "outline" ? "an outline is not read" : "not read yet";
  return { mood: null, valence: 0, evidence: "", exchanges: [], reason };
}

async function characterTraits(db: Db, tenant_id: string): Promise<readonly CharacterTraits[]> {
  const outputs = await outputsOf(db, tenant_id, "character-traits");
  const characters = (await entitiesOfType(db, tenant_id, "character")).filter((c) =>
    outputs.has(c.source_id),
  );
  return await Promise.all(
    characters.map(async (character) => {
      const { traits, reason } = Traits.parse(outputs.get(character.source_id));
      const shown = traits.map(({ trait, evidence }) => showTrait(db, character, trait, evidence));
      return {
        name: character.title,
        source_id: character.source_id,
        traits: await Promise.all(shown),
        reason,
      };
    }),
  );
}

/** A scene shows a trait better than the character's own sheet, which only says it. */
async function showTrait(
  db: Db,
  character: Entity,
  trait: string,
  evidence: readonly Evidence[],
): Promise<ShownTrait> {
  const best = evidence.find(({ source_id }) => source_id !== character.source_id) ?? evidence[0];
  const entity = best && (await readEntity(db, { ...best, tenant_id: character.tenant_id }));
  if (!entity) return { trait, line: best?.quote ?? "", from: "" };
  return {
    trait,
    line: lineAround(entity.text, best),
    from: entity.source_id === character.source_id ? "" : entity.title,
  };
}

/** How much of a line is shown before its quote and in all, in characters. */
const before = 24;
const most = 64;

/** The line of the text in which the quote stands; of a long one, the whole words around the quote. */
function lineAround(text: string, { start, end }: Evidence): string {
  const from = text.lastIndexOf("\n", start) + 1;
  const newline = text.indexOf("\n", end);
  const to = newline < 0 ? text.length : newline;
  if (to - from <= most) return text.slice(from, to).trim();
  const first = Math.max(from, start - before);
  const last = Math.min(to, Math.max(end, first + most));
  const words = text.slice(first, last).trim();
  return `${first > from ? "…" : ""}${first > from ? words.replace(/^\S*\s+/, "") : words}${last < to ? "…" : ""}`;
}

async function outputsOf(db: Db, tenant_id: string, pipeline: string): Promise<ReadonlyMap<string, unknown>> {
  return new Map((await enrichmentsBy(db, tenant_id, pipeline)).map((e) => [e.source_id, e.output]));
}

function orderOf({ metadata }: Entity): number {
  return Number(metadata.order ?? 0);
}

/** Measured before and after, it tells what was used in between, whenever the runs were made. */
export async function usedBy(db: Db, tenant_id: string): Promise<Used> {
  const ended = (await tallyRuns(db, tenant_id)).filter(({ status }) => !open.includes(status));
  const sum = (of: (tally: Tally) => number) => ended.reduce((total, tally) => total + of(tally), 0);
  return {
    runs: sum(({ runs }) => runs),
    failed: sum(({ runs, status }) => (status === "failed" ? runs : 0)),
    model_calls: sum(({ model_calls }) => model_calls),
    embedding_calls: sum(({ embedding_calls }) => embedding_calls),
    vectors_reused: sum(({ vectors_reused }) => vectors_reused),
    tokens: sum(({ tokens_in, tokens_out, embedding_tokens }) => tokens_in + tokens_out + embedding_tokens),
    cost_usd: sum(({ cost_usd }) => cost_usd),
  };
}

const open: readonly Tally["status"][] = ["pending", "running", "waiting"];

function difference(after: Used, before: Used): Used {
  return {
    runs: after.runs - before.runs,
    failed: after.failed - before.failed,
    model_calls: after.model_calls - before.model_calls,
    embedding_calls: after.embedding_calls - before.embedding_calls,
    vectors_reused: after.vectors_reused - before.vectors_reused,
    tokens: after.tokens - before.tokens,
    cost_usd: after.cost_usd - before.cost_usd,
  };
}
