import { z } from "zod";
import { deleteCheckpoints } from "../../checkpoints/retention.ts";
import { type Db, isConnectionError, maybeOne, transaction } from "../db.ts";
import { LoregraphError, messageOf } from "../errors.ts";
import { endCancelled, failAttempt, parkRun, releaseRuns, succeedRun } from "../ledger/attempt.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import {
  Emitted,
  type Entity,
  Ingested,
  type IngestionPipeline,
  Mention,
  type Pipeline,
  type Stamp,
  type Usage,
} from "../pipeline.ts";
import { publish, withMentions } from "../publish.ts";
import type { Routable } from "../router.ts";
import { confirmDocument, storeDocument } from "../store/documents.ts";
import { confirmEnrichment, storeEnrichment } from "../store/enrichments.ts";
import type { EntityKey } from "../store/entities.ts";
import { formerMentions } from "../store/mentions.ts";
import { storableJson, storableText } from "../store/storable.ts";
import { backoff } from "./backoff.ts";
import type { Context } from "./context.ts";
import type { Ending } from "./ending.ts";
import { pause } from "./pause.ts";

export type Ended = {
  readonly run: ClaimedRun;
  readonly pipeline: Pipeline;
  /** The entity as the attempt read it; undefined where it was gone. */
  readonly entity: Entity | undefined;
  readonly ending: Ending;
  readonly usage: Usage;
};

export type Committed = {
  /** That of the attempt, or the failure to store it. */
  readonly ending: Ending;
  /** When the run is due again, in milliseconds from then. */
  readonly retryInMs?: number | undefined;
};

/**
 * Commits how an attempt ended, in one transaction: the ledger, what was learnt, the events and the runs that follow
 * from them. Where the database is away, it waits and tries again: the answer was paid for. What the database
 * refuses becomes a failure like any other. Where the lease was lost, nothing is stored.
 */
export async function commitEnding(context: Context, ended: Ended, signal: AbortSignal): Promise<Committed> {
  for (let tries = 1; ; tries++) {
    try {
      return { ending: ended.ending, retryInMs: await commitOnce(context, ended) };
    } catch (error) {
      if (leaseLost(error)) return lost(context);
      if (!passes(error, tries)) return await commitRefused(context, ended, error, signal);
      context.log.warn({ tries }, "commit-delayed");
      await pause(Math.min(5_000, 50 * 2 ** tries), signal.aborted ? undefined : signal);
    }
  }
}

function lost({ log }: Context): Committed {
  log.warn("lease-lost");
  return { ending: { kind: "lost" } };
}

/** The run must not hang on it, nor may its next attempt find the same answer finished. */
async function commitRefused(
  context: Context,
  ended: Ended,
  cause: unknown,
  signal: AbortSignal,
): Promise<Committed> {
  if (isFailure(ended.ending) || isConnectionError(cause)) throw cause;
  const message = `how the attempt ended could not be stored: ${messageOf(cause)}`;
  const error = new LoregraphError("COMMIT_FAILED", message, { cause });
  return await commitEnding(context, { ...ended, ending: { kind: "retry", error, counts: true } }, signal);
}

type Failed = Extract<Ending, { kind: "retry" | "hopeless" }>;

function isFailure(ending: Ending): ending is Failed {
  return ending.kind === "retry" || ending.kind === "hopeless";
}

function leaseLost(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "LEASE_LOST";
}

/**
 * Will the same transaction go through later? Then it is tried up to twenty times, over a minute: a lost connection, a
 * server without room or that is stopping, a standby, a lock. Two that met on one key have made way by the next try.
 */
function passes(error: unknown, tries: number): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  if (code === "23505") return tries < 5;
  return tries < 20 && (isConnectionError(error) || /^(40|53|57|58|55P03|25006)/.test(code));
}

/** @returns when the run is due again, in milliseconds, where it is. */
async function commitOnce(context: Context, ended: Ended): Promise<number | undefined> {
  const { run, ending, usage } = ended;
  switch (ending.kind) {
    case "answered":
      await transaction(context.pool, (db) => commitAnswer(db, context, ended, ending.answer, ending.stamp));
      return;
    case "duplicate":
      await transaction(context.pool, (db) => commitDuplicate(db, context, ended, ending.stamp));
      return;
    case "waiting":
      await parkRun(context.pool, run, storableJson({ question: ending.question }).question, usage);
      return;
    case "retry":
    case "hopeless":
      return await transaction(context.pool, (db) => commitFailure(db, context, ended, ending));
    case "cancelled":
      await endCancelled(context.pool, run, ending.reason, usage);
      return;
    case "released":
      await transaction(context.pool, async (db) => {
        await releaseRuns(db, [run]);
        await wakeWorkers(db);
      });
      return;
    case "lost":
      context.log.warn("lease-lost");
  }
}

async function commitAnswer(
  db: Db,
  { registry }: Context,
  { run, pipeline, entity, usage }: Ended,
  answer: Record<string, unknown>,
  stamp: Stamp,
): Promise<void> {
  if (!entity || !(await lockEntity(db, entity))) {
    return await endCancelled(db, run, "its entity was deleted", usage);
  }
  const { events, output } = splitEvents(storableJson(answer));
  const outcome = pipeline.outcome(answer);
  await succeedRun(db, run, { outcome, stamp, usage });
  const spokenOf = isIngestion(pipeline)
    ? (await formerMentions(db, entity.tenant_id, [entity]))(entity)
    : [];
  if (isIngestion(pipeline)) {
    const document = { key: entity, source_version: entity.version, stamp, run_id: run.id };
    await storeDocument(db, pipeline, { ...document, answer: Ingested.parse(output) });
  } else if (outcome !== "eval_rejected") {
    const enrichment = {
      key: entity,
      pipeline: pipeline.name,
      source_version: entity.version,
      outcome,
      stamp,
    };
    await storeEnrichment(db, { ...enrichment, run_id: run.id, output });
  }
  const own = ownEvent(pipeline, entity, outcome, [...spokenOf, ...mentionsIn(output)]);
  await publish(db, registry, [own, ...events.map((event) => about(entity, event))], run.id);
}

/** Nothing has changed: nothing is stored. An ingested version is still a fact that enrichers may wait for. */
async function commitDuplicate(db: Db, { registry }: Context, ended: Ended, stamp: Stamp): Promise<void> {
  const { run, pipeline, entity, usage } = ended;
  if (!entity || !(await lockEntity(db, entity))) {
    return await endCancelled(db, run, "its entity was deleted", usage);
  }
  await succeedRun(db, run, { outcome: "duplicate_skipped", stamp, usage });
  if (!isIngestion(pipeline)) return await confirmEnrichment(db, entity, pipeline.name, entity.version);
  await confirmDocument(db, entity, entity.version);
  await publish(db, registry, [ownEvent(pipeline, entity, "duplicate_skipped", [])], run.id);
}

async function commitFailure(
  db: Db,
  { log }: Context,
  { run, pipeline, usage }: Ended,
  ending: Failed,
): Promise<number | undefined> {
  const { error } = ending;
  const retryInMs = ending.kind === "hopeless" ? null : retryDelay(pipeline, run, error);
  const status = await failAttempt(db, run, {
    code: error.code,
    message: storableText(error.message),
    retryInMs,
    counts: ending.kind === "hopeless" || ending.counts,
    usage,
  });
  if (error.code === "COMMIT_FAILED") await deleteCheckpoints(db, run.id);
  log.warn({ code: error.code, kind: kindOf(error), status }, "attempt-failed");
  return status === "pending" && retryInMs !== null ? retryInMs : undefined;
}

function kindOf(error: LoregraphError): string {
  return error.cause instanceof Error ? error.cause.name : error.name;
}

function retryDelay({ retries }: Pipeline, { attempt }: ClaimedRun, { after }: LoregraphError): number {
  return after ? Math.max(0, after.getTime() - Date.now()) : backoff(retries, attempt + 1);
}

// Held until the transaction ends: an entity that is being deleted waits for us, or we see that it is gone.
async function lockEntity(db: Db, { tenant_id, source_type, source_id }: EntityKey): Promise<boolean> {
  const row = await maybeOne(
    db,
    z.object({ version: z.int() }),
    `select version from entities where tenant_id = $1 and source_type = $2 and source_id = $3 for key share`,
    [tenant_id, source_type, source_id],
  );
  return row !== undefined;
}

function isIngestion(pipeline: Pipeline): pipeline is IngestionPipeline {
  return pipeline.kind === "ingestion";
}

const Events = Emitted.array().default([]);

/** Sets the events that an answer names apart from what is stored of it. */
function splitEvents(answer: Record<string, unknown>) {
  const { events, ...output } = answer;
  return { events: Events.parse(events), output };
}

function ownEvent(
  pipeline: Pipeline,
  entity: Entity,
  outcome: string,
  mentions: readonly Mention[],
): Routable {
  return isIngestion(pipeline)
    ? about(entity, {
        event: "entity.ingested",
        metadata: withMentions(entity.metadata, mentions),
      })
    : about(entity, { event: "entity.enriched", metadata: { pipeline: pipeline.name, outcome } });
}

function mentionsIn({ mentions }: Record<string, unknown>): readonly Mention[] {
  return Mention.array().catch([]).parse(mentions);
}

function about(
  { tenant_id, source_type, source_id, version }: Entity,
  { event, metadata }: Emitted,
): Routable {
  return { event, tenant_id, source_type, source_id, version, metadata };
}
