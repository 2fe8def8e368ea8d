import type { Db } from "../db.ts";
import type { Metadata, runtimeEvents } from "../pipeline.ts";
import { publish } from "../publish.ts";
import type { Registry } from "../registry.ts";
import type { ReingestKey } from "./reingest.ts";

type ReingestEvent = Extract<(typeof runtimeEvents)[number], `reingest.${string}`>;

/** Appends the event that tells of a reingest, about its tenant, in the caller's transaction. */
export async function tell(
  db: Db,
  registry: Registry,
  event: ReingestEvent,
  { tenant_id, id }: ReingestKey,
  metadata: Metadata = {},
): Promise<void> {
  const about = { tenant_id, source_type: "tenant", source_id: tenant_id, version: 1 } as const;
  await publish(db, registry, [{ event, ...about, metadata: { reingest_id: id, ...metadata } }]);
}
