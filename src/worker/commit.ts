import { z } from "zod";
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
  type Metadata,
  type Pipeline,
  type Stamp,
  type Usage,
} from "../pipeline.ts";
import { publish } from "../publish.ts";
import type { Routable } from "../router.ts";
import { confirmDocument, storeDocument } from "../store/documents.ts";
import { storeEnrichment } from "../store/enrichments.ts";
import type { EntityKey } from "../store/entities.ts";
import { storableJson } from "../store/storable.ts";
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

/**
 * Commits how an attempt ended, in one transaction: the ledger, what was learnt, the events and the runs that follow
 * from them. Where the database is away, it waits and tries again: the answer was paid for. Where the lease was
 * lost, nothing is stored.
 */
export async function commitEnding(context: Context, ended: Ended, signal: AbortSignal): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      return await commitOnce(context, ended);
    } catch (error) {
      if (leaseLost(error)) return context.log.warn("lease-lost");
      if (!passing(error) && ended.ending.kind === "answered")
        return await commitUnstorable(context, ended, error);
      if (!passing(error) || tries === 20) throw error;
      context.log.warn({ tries }, "commit-delayed");
      await pause(Math.min(5_000, 100 * 2 ** tries), signal.aborted ? undefined : signal);
    }
  }
}

/** An answer that the database refuses is a failure like any other, and no reason to leave the run hanging. */
async function commitUnstorable(context: Context, ended: Ended, cause: unknown): Promise<void> {
  const error = new LoregraphError("COMMIT_FAILED", `the answer could not be stored: ${messageOf(cause)}`, {
    cause,
  });
  await commitFailure(context, ended, { kind: "retry", error, counts: true });
}

function leaseLost(error: unknown): boolean {
  return error instanceof LoregraphError && error.code === "LEASE_LOST";
}

/** Will the same transaction go through later? A lost connection, a deadlock, or two that met on one key. */
function passing(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return isConnectionError(error) || code === "40P01" || code === "40001" || code === "23505";
}

async function commitOnce(context: Context, ended: Ended): Promise<void> {
  const { run, ending, usage } = ended;
  switch (ending.kind) {
    case "answered":
      return await transaction(context.pool, (db) =>
        commitAnswer(db, context, ended, ending.answer, ending.stamp),
      );
    case "duplicate":
      return await transaction(context.pool, (db) => commitDuplicate(db, context, ended, ending.stamp));
    case "waiting":
      return await parkRun(context.pool, run, ending.question, usage);
    case "retry":
    case "hopeless":
      return await commitFailure(context, ended, ending);
    case "cancelled":
      return await endCancelled(context.pool, run, ending.reason, usage);
    case "released":
      return await transaction(context.pool, async (db) => {
        await releaseRuns(db, [run]);
        await wakeWorkers(db);
      });
    case "lost":
      return context.log.warn("lease-lost");
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
  const own = ownEvent(pipeline, entity, outcome, output);
  await publish(db, registry, [own, ...events.map((event) => about(entity, event))], run.id);
}

/** Nothing has changed: nothing is stored. An ingested version is still a fact that enrichers may wait for. */
async function commitDuplicate(db: Db, { registry }: Context, ended: Ended, stamp: Stamp): Promise<void> {
  const { run, pipeline, entity, usage } = ended;
  await succeedRun(db, run, { outcome: "duplicate_skipped", stamp, usage });
  if (!entity || !isIngestion(pipeline)) return;
  await confirmDocument(db, entity, entity.version);
  await publish(db, registry, [ownEvent(pipeline, entity, "duplicate_skipped", {})], run.id);
}

async function commitFailure(
  { pool, log }: Context,
  { run, pipeline, usage }: Ended,
  ending: Extract<Ending, { kind: "retry" | "hopeless" }>,
): Promise<void> {
  const { error } = ending;
  const status = await failAttempt(pool, run, {
    code: error.code,
    message: error.message,
    retryInMs: ending.kind === "hopeless" ? null : retryDelay(pipeline, run, error),
    counts: ending.kind === "hopeless" || ending.counts,
    usage,
  });
  log.warn({ code: error.code, kind: kindOf(error), status }, "attempt-failed");
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
  output: Record<string, unknown>,
): Routable {
  return isIngestion(pipeline)
    ? about(entity, {
        event: "entity.ingested",
        metadata: { ...entity.metadata, ...mentionsIn(output) },
      })
    : about(entity, { event: "entity.enriched", metadata: { pipeline: pipeline.name, outcome } });
}

/** Told only where there are some: most events carry just what their entity does. */
function mentionsIn({ mentions }: Record<string, unknown>): Metadata {
  return Array.isArray(mentions) && mentions.length > 0 ? { mentions } : {};
}

function about(
  { tenant_id, source_type, source_id, version }: Entity,
  { event, metadata }: Emitted,
): Routable {
  return { event, tenant_id, source_type, source_id, version, metadata };
}
