import { z } from "zod";
import { type Db, maybeOne } from "../db.ts";
import { endCancelled, succeedRun } from "../ledger/attempt.ts";
import {
  type Entity,
  Ingested,
  type IngestionPipeline,
  type Outcome,
  type Pipeline,
  type Stamp,
} from "../pipeline.ts";
import { publish } from "../publish.ts";
import type { Routable } from "../router.ts";
import { confirmDocument, storeDocument } from "../store/documents.ts";
import { confirmEnrichment, storeEnrichment } from "../store/enrichments.ts";
import type { EntityKey } from "../store/entities.ts";
import { formerMentions } from "../store/mentions.ts";
import { storableJson } from "../store/storable.ts";
import type { Context } from "./context.ts";
import type { Ended, Ends } from "./ended.ts";
import { enrichedEvent, graphEvents, ingestedEvent, mentionsIn } from "./events.ts";

/** Stores an answer where its pipeline's answers belong, and tells of it. */
export async function commitAnswer(
  db: Db,
  { registry }: Context,
  { run, pipeline, entity, ending, usage }: Ended<Ends<"answered">>,
): Promise<void> {
  if (!entity || !(await lockEntity(db, entity))) return await endCancelled(db, run, gone, usage);
  const { stamp, answer } = ending;
  const outcome = pipeline.outcome(answer);
  const { events, ...output } = storableJson(answer);
  await succeedRun(db, run, { outcome, stamp, usage });
  const own = await storeAnswer(db, pipeline, { entity, outcome, output, stamp, run_id: run.id });
  await publish(db, registry, [own, ...graphEvents(entity, events)], run);
}

/** Nothing has changed: nothing is stored. An ingested version is still a fact that enrichers may wait for. */
export async function commitDuplicate(
  db: Db,
  { registry }: Context,
  { run, pipeline, entity, ending, usage }: Ended<Ends<"duplicate">>,
): Promise<void> {
  if (!entity || !(await lockEntity(db, entity))) return await endCancelled(db, run, gone, usage);
  await succeedRun(db, run, { outcome: "duplicate_skipped", stamp: ending.stamp, usage });
  if (!isIngestion(pipeline)) return await confirmEnrichment(db, entity, pipeline.name, entity.version);
  await confirmDocument(db, entity, entity.version);
  await publish(db, registry, [ingestedEvent(entity, [])], run);
}

const gone = "its entity was deleted";

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

type Answer = {
  readonly entity: Entity;
  readonly outcome: Outcome;
  readonly output: Record<string, unknown>;
  readonly stamp: Stamp;
  readonly run_id: string;
};

/** @returns the event that tells of it. */
async function storeAnswer(db: Db, pipeline: Pipeline, answer: Answer): Promise<Routable> {
  return isIngestion(pipeline)
    ? await storeIngested(db, pipeline, answer)
    : await storeEnriched(db, pipeline, answer);
}

function isIngestion(pipeline: Pipeline): pipeline is IngestionPipeline {
  return pipeline.kind === "ingestion";
}

async function storeIngested(
  db: Db,
  pipeline: IngestionPipeline,
  { entity, output, stamp, run_id }: Answer,
): Promise<Routable> {
  // Read before they are written over: whom the text no longer speaks of wants to know as well.
  const spokenOf = (await formerMentions(db, entity.tenant_id, [entity]))(entity);
  const document = { key: entity, source_version: entity.version, stamp, run_id };
  await storeDocument(db, pipeline, { ...document, answer: Ingested.parse(output) });
  return ingestedEvent(entity, [...spokenOf, ...mentionsIn(output)]);
}

async function storeEnriched(
  db: Db,
  { name }: Pipeline,
  { entity, outcome, output, stamp, run_id }: Answer,
): Promise<Routable> {
  if (outcome !== "eval_rejected") {
    const about = { key: entity, pipeline: name, source_version: entity.version };
    await storeEnrichment(db, { ...about, outcome, stamp, run_id, output });
  }
  return enrichedEvent(entity, name, outcome);
}
