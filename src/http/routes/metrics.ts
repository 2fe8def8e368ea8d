import { openMetrics } from "../metrics.ts";
import type { App, Services } from "../services.ts";

/** The figures for Prometheus. They name no tenant, but whoever runs the system alone may see its load and cost. */
export function metricsRoutes(app: App, { pool }: Services): void {
  const metrics = openMetrics(pool);
  app.get(
    "/metrics",
    {
      config: { scope: "admin" },
      schema: {
        summary: "The figures of all processes, for Prometheus",
        tags: ["health"],
        produces: ["text/plain"],
      },
    },
    async (_, reply) => reply.type(metrics.contentType).send(await metrics.scrape()),
  );
}
