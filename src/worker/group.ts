import { type Db, planFor, transaction } from "../db.ts";
import { noteCalls } from "../ledger/calls.ts";
import { endRuns } from "../ledger/end.ts";
import { askQuestions } from "../ledger/questions.ts";
import { publishAll } from "../publish.ts";
import { confirmCandidate, storeCandidates } from "../store/candidates.ts";
import { confirmDocuments, storeDocuments } from "../store/documents.ts";
import { confirmEnrichments, storeEnrichments } from "../store/enrichments.ts";
import { type EntityKey, lockEntities } from "../store/entities.ts";
import { formerMentions } from "../store/mentions.ts";
import type { Context } from "./context.ts";
import type { Asked } from "./gatherer.ts";
import { gone, type News, type Settled } from "./settled.ts";

/**
 * Commits endings in one transaction, each fenced by its own lease, and answers each whether that was held. One that
 * meets somebody's lock waits by itself.
 */
export async function commitTogether(context: Context, asked: readonly Asked<Settled, boolean>[]) {
  try {
    await commitAll(context, asked, impatient);
  } catch (error) {
    if (asked.length > 1 || !meetsAnother(error)) throw error;
    leave(context, asked);
  }
}

// Who holds what one of the endings needs keeps all of them waiting: an import, an operator's session. One that waits by
// itself is less impatient, but waits no longer than a connection may be silent: Postgres would go on with it.
const impatient = "begin; set local lock_timeout = '250ms'";
const patient = "begin; set local lock_timeout = '5s'";

function meetsAnother(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "55P03";
}

/** Waits by itself; the groups behind it go on. Where it waits in vain, its attempt commits it again. */
function leave(context: Context, asked: readonly Asked<Settled, boolean>[]): void {
  commitAll(context, asked, patient).catch((error: unknown) => {
    for (const { refuse } of asked) refuse(error);
  });
}

async function commitAll(
  { pool, registry }: Context,
  asked: readonly Asked<Settled, boolean>[],
  begin: string,
): Promise<void> {
  const endings = asked.map(({ item }) => item);
  const held = await transaction(
    pool,
    (db) => commitEndings(db, registry, endings),
    `${begin}; ${planFor(endings.length)}`,
  );
  for (const { item, answer } of asked) answer(held.has(item.run.lease_token));
}

/**
 * Commits endings in the caller's transaction, in this order in every one, and each kind in the order of its keys: entities,
 * runs, what was learnt of them, webhooks, runs that follow, what models were asked.
 *
 * @returns the tokens of the leases that were held.
 */
export async function commitEndings(db: Db, registry: Context["registry"], endings: readonly Settled[]) {
  const isThere = await lockSubjects(db, endings);
  const held = await endRuns(
    db,
    endings.map((ending) => (isThere(ending) ? ending.end : cancelled(ending))),
  );
  const own = endings.filter((ending) => isThere(ending) && held.has(ending.run.lease_token));
  const kept = await afterAsking(db, own);
  const spokenOf = await storeNews(
    db,
    kept.flatMap(({ news }) => news ?? []),
  );
  const told = kept.flatMap(({ run, news }) =>
    news ? news.events(spokenOf(news.entity)).map((event) => ({ event, cause: run })) : [],
  );
  await publishAll(db, registry, told);
  // Also of those that have lost their lease: what they asked was paid for.
  await noteCalls(
    db,
    endings.flatMap(({ calls }) => calls),
  );
  return held;
}

/** Stores what is asked, and leaves out what is not: somebody asked to cancel its run meanwhile. */
async function afterAsking(db: Db, endings: readonly Settled[]): Promise<readonly Settled[]> {
  const asking = endings.flatMap(({ run, questions }) => (questions ? [{ run, questions }] : []));
  const asked = await askQuestions(db, asking);
  return endings.filter(({ run, questions }) => questions === undefined || asked.has(run.id));
}

/** An entity that is being deleted waits for us, or we see that it is gone. */
async function lockSubjects(db: Db, endings: readonly Settled[]): Promise<(ending: Settled) => boolean> {
  const nameOf = ({ tenant_id, source_type, source_id }: EntityKey) =>
    `${tenant_id} ${source_type} ${source_id}`;
  const keys = endings.flatMap(({ news }) => news?.entity ?? []);
  const there = new Set((await lockEntities(db, keys)).map(nameOf));
  return ({ news }) => news === undefined || there.has(nameOf(news.entity));
}

function cancelled({ end: { lease, usage } }: Settled) {
  return { lease, usage, status: "cancelled", reason: gone } as const;
}

/** @returns whom the texts of entities spoke of, which is read before they are written over: those want to know as well. */
async function storeNews(db: Db, news: readonly News[]): ReturnType<typeof formerMentions> {
  const ingested = news.filter(({ document }) => document !== undefined);
  const spokenOf = await formerMentions(
    db,
    ingested.map(({ entity }) => entity),
  );
  await storeDocuments(
    db,
    ingested.flatMap(({ document }) => document ?? []),
  );
  await storeEnrichments(
    db,
    news.flatMap(({ enrichment }) => enrichment ?? []),
  );
  await storeCandidates(
    db,
    news.flatMap(({ candidate }) => candidate ?? []),
  );
  await confirm(db, news);
  return spokenOf;
}

async function confirm(db: Db, news: readonly News[]): Promise<void> {
  for (const { entity, confirmedCandidate } of news) {
    if (confirmedCandidate)
      await confirmCandidate(db, { ...confirmedCandidate, source_version: entity.version });
  }
  const confirmed = news.flatMap(({ entity, confirmed }) =>
    confirmed ? [{ key: entity, source_version: entity.version, pipeline: confirmed }] : [],
  );
  const [documents, enrichments] = [
    confirmed.filter(({ pipeline }) => pipeline.kind === "ingestion"),
    confirmed.filter(({ pipeline }) => pipeline.kind !== "ingestion"),
  ];
  await confirmDocuments(db, documents);
  await confirmEnrichments(
    db,
    enrichments.map(({ pipeline, ...still }) => ({ ...still, pipeline: pipeline.name })),
  );
}
