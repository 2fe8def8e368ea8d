/** What stands for all deliveries to subscribers, where pipelines are named. Each webhook's own is `webhook:<id>`. */
export const deliveries = "webhook";

/** The pattern of SQL's `like` that every webhook's pipeline fits. */
export const everyDelivery = `${deliveries}:%`;

/** Is it a delivery, or the pattern of all of them, rather than a graph? */
export function isDelivery(pipeline: string): boolean {
  return pipeline.startsWith(`${deliveries}:`);
}

/** The pipeline under the name that people count it by, of which there are few. */
export function familyOf(pipeline: string): string {
  return isDelivery(pipeline) ? deliveries : pipeline;
}
