import type { Db } from "../db.ts";
import { LoadedRegistry, type Registry } from "../registry.ts";
import { promotedVersions } from "../store/rollouts.ts";

/** Lets a registry run what was promoted, where `langgraph.json` names another version beside one that runs. */
export async function heedPromotions(db: Db, registry: Registry): Promise<void> {
  if (!(registry instanceof LoadedRegistry) || !registry.hasOthers) return;
  registry.use(await promotedVersions(db));
}
