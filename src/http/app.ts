import { randomUUID } from "node:crypto";
import fastify, { type FastifyBaseLogger, LogController, type RouteOptions } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import type { HttpSettings } from "../config.ts";
import { authorizeRoutes, identifyCallers } from "./auth.ts";
import { readJsonAlone, refuseStrays } from "./body.ts";
import { addDocs } from "./docs.ts";
import { healthRoutes } from "./health.ts";
import { answerOnce } from "./idempotency.ts";
import { guardAnswers, limitLoad, limitRates, limitReads } from "./limits.ts";
import { heedRequests, judgeHeads, limitPipelines } from "./malformed.ts";
import { answerProblems, sendProblem } from "./problem.ts";
import { costRoutes } from "./routes/costs.ts";
import { deadLetterRoutes } from "./routes/dead-letters.ts";
import { entityRoutes } from "./routes/entities.ts";
import { eventRoutes } from "./routes/events.ts";
import { metricsRoutes } from "./routes/metrics.ts";
import { pipelineRoutes } from "./routes/pipelines.ts";
import { reingestRoutes } from "./routes/reingests.ts";
import { runRoutes } from "./routes/runs.ts";
import { searchRoutes } from "./routes/search.ts";
import { tenantRoutes } from "./routes/tenants.ts";
import { webhookRoutes } from "./routes/webhooks.ts";
import type { App, Services } from "./services.ts";

export type AppOptions = {
  /** Told of every route. */
  readonly onRoute?: (route: RouteOptions) => void;
  /** Milliseconds in which a request must arrive. Defaults to 60 s. */
  readonly arrivalMs?: number;
};

/** The app, ready to be listened with or injected into; it neither listens nor owns the pool. */
export async function openApp(
  services: Services,
  settings: HttpSettings,
  { onRoute = () => {}, arrivalMs = 60_000 }: AppOptions = {},
): Promise<App> {
  const loggerInstance: FastifyBaseLogger = services.log;
  const app: App = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: settings.maxBodyBytes,
    genReqId: () => randomUUID(),
    frameworkErrors: sendProblem,
    ...heedRequests(arrivalMs),
  }).withTypeProvider();
  app.setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler);
  app.addHook("onRoute", onRoute);
  judgeHeads(app);
  limitPipelines(app);
  readJsonAlone(app);
  await guardAnswers(app);
  await limitLoad(app);
  identifyCallers(app, services);
  await limitRates(app, settings);
  authorizeRoutes(app);
  refuseStrays(app);
  answerOnce(app, services);
  answerProblems(app);
  limitReads(app);
  logAnswers(app);
  await addDocs(app);

  healthRoutes(app, services);
  metricsRoutes(app, services);
  tenantRoutes(app, services);
  costRoutes(app, services);
  pipelineRoutes(app, services);
  reingestRoutes(app, services);
  runRoutes(app, services);
  deadLetterRoutes(app, services);
  entityRoutes(app, services);
  searchRoutes(app, services);
  eventRoutes(app, services);
  webhookRoutes(app, services);
  closeInTime(app);
  return app;
}

/** How long answers under way may take to end, in milliseconds; who connected and asks nothing waits no longer. */
const closingMs = 5_000;

function closeInTime(app: App): void {
  app.addHook("preClose", async () => {
    setTimeout(() => app.server.closeAllConnections(), closingMs).unref();
  });
}

/** One line an answer, with the path as its route has it: what was searched for is nobody's affair. */
function logAnswers(app: App): void {
  app.addHook("onResponse", async ({ log, method, routeOptions, key }, { statusCode, elapsedTime }) => {
    const { url: route, config } = routeOptions;
    const line = { method, route, status: statusCode, ms: Math.round(elapsedTime), key: key?.id };
    // Health is asked for all day long.
    log[config?.scope === "open" ? "debug" : "info"](line, "answered");
  });
}
