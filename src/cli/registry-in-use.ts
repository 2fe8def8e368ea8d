import { type LoadedRegistry, loadRegistry } from "../registry.ts";
import { heedPromotions } from "../rollouts/promotions.ts";
import type { Session } from "./session.ts";

/** The pipelines of `langgraph.json`, of each the version that was promoted last. */
export async function registryInUse({
  config,
  pool,
}: Pick<Session, "config" | "pool">): Promise<LoadedRegistry> {
  const registry = await loadRegistry(config.graphs);
  await heedPromotions(pool, registry);
  return registry;
}
