import { randomUUID } from "node:crypto";
import fastify, { type FastifyBaseLogger, LogController } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import { LoregraphError } from "../errors.ts";
import type { ForkContext } from "../forks/make.ts";
import { readJsonAlone } from "../http/body.ts";
import { heedRequests, judgeHeads, limitPipelines } from "../http/malformed.ts";
import { sendProblem } from "../http/problem.ts";
import type { App } from "../http/services.ts";
import { assistantRoutes } from "./assistants.ts";
import { admitPages, requireStudioKey, withoutKey } from "./door.ts";
import { forkRoutes } from "./forks.ts";
import { refuseForking, refuseMaking } from "./refusals.ts";
import type { StudioServices } from "./services.ts";
import { threadRoutes } from "./threads.ts";

export type StudioSettings = {
  /** Who does not show it is answered nothing but `/ok`. */
  readonly key: string;
  readonly maxBodyBytes: number;
  readonly version: string;
  /** What makes and runs forks, and in whose name. Absent: they are refused. */
  readonly forks?: { readonly context: ForkContext; readonly by: string } | undefined;
};

/** How long a request may take to arrive, in milliseconds. */
const arrivalMs = 60_000;

/** LangGraph's protocol over what production has stored, ready to be listened with; it owns no pool. */
export function openStudio(services: StudioServices, settings: StudioSettings): App {
  const loggerInstance: FastifyBaseLogger = services.log;
  const app: App = fastify({
    loggerInstance,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: settings.maxBodyBytes,
    genReqId: () => randomUUID(),
    rewriteUrl: withoutKey,
    frameworkErrors: sendProblem,
    ...heedRequests(arrivalMs),
  }).withTypeProvider();
  app.setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler);
  judgeHeads(app);
  limitPipelines(app);
  readJsonAlone(app);
  admitPages(app);
  requireStudioKey(app, settings.key);
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler(({ method, url }) => {
    throw new LoregraphError("ROUTE_UNKNOWN", `there is no ${method} ${url.slice(0, 200)}`);
  });
  logAnswers(app);

  app.get("/ok", async () => ({ ok: true }));
  app.get("/info", async () => infoOf(settings));
  assistantRoutes(app, services);
  const { forks } = settings;
  const forkRuns = forks && forkRoutes(app, services, forks.context, forks.by);
  threadRoutes(app, services, forkRuns);
  refuseMaking(app);
  if (!forks) refuseForking(app);
  closeInTime(app);
  return app;
}

function infoOf({ version }: StudioSettings) {
  const flags = { assistants: true, crons: false, langsmith: false, langsmith_tracing_replicas: false };
  return { version, context: "js", flags };
}

/** How long answers under way may take to end, in milliseconds. */
const closingMs = 5_000;

function closeInTime(app: App): void {
  app.addHook("preClose", async () => {
    setTimeout(() => app.server.closeAllConnections(), closingMs).unref();
  });
}

/** One line an answer, with the path as its route has it: it has neither keys nor what was asked for. */
function logAnswers(app: App): void {
  app.addHook("onResponse", async ({ log, method, routeOptions }, { statusCode, elapsedTime }) => {
    const line = { method, route: routeOptions.url, status: statusCode, ms: Math.round(elapsedTime) };
    log.debug(line, "answered");
  });
}
