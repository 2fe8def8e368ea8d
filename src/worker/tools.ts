import { type Db, orUnavailable } from "../db.ts";
import { sha256 } from "../hash.ts";
import type { Models } from "../models/models.ts";
import { type Entity, enricherOf, type Pipeline, type Reader, type Stamp } from "../pipeline.ts";
import { previousOutput } from "../store/enrichments.ts";
import { findMentions } from "../store/mentions.ts";
import { findPassages } from "../store/passages.ts";
import { makerOf } from "../store/stamps.ts";

/** What a graph may read: its own tenant, and nothing of another. */
export function readerFor(db: Db, entity: Entity, pipeline: string): Reader {
  return {
    passages: (names, limit) => orUnavailable(() => findPassages(db, entity.tenant_id, names, limit)),
    mentioned: (text) => orUnavailable(() => findMentions(db, entity.tenant_id, entity.source_id, text)),
    previous: () => orUnavailable(() => previousOutput(db, entity, pipeline)),
    enrichment: (of) => orUnavailable(() => previousOutput(db, entity, of)),
  };
}

/** What would make this pipeline's answer about this entity now; where it equals the stored one, nothing has changed. */
export async function stampOf(
  pipeline: Pipeline,
  entity: Entity,
  read: Reader,
  models: Models,
): Promise<Stamp> {
  const reads = await pipeline.reads?.(entity, read);
  const enricher = enricherOf(pipeline.trigger.on);
  const upstream = enricher === undefined ? [] : [(await read.enrichment(enricher)) ?? null];
  return {
    ...makerOf(pipeline, models),
    input_hash: sha256(JSON.stringify([entity.title, entity.text, reads ?? null, ...upstream])),
  };
}
