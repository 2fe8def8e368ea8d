import { randomUUID } from "node:crypto";
import fastify, { type FastifyBaseLogger } from "fastify";
import { serializerCompiler, validatorCompiler } from "fastify-type-provider-zod";
import type { HttpSettings } from "../config.ts";
import { LoregraphError } from "../errors.ts";
import { problemOf } from "./problem.ts";
import type { App, Services } from "./services.ts";

/** The app, ready to be listened with or injected into; it neither listens nor owns the pool. */
export async function openApp(services: Services, settings: HttpSettings): Promise<App> {
  const loggerInstance: FastifyBaseLogger = services.log;
  const app: App = fastify({
    loggerInstance,
    bodyLimit: settings.maxBodyBytes,
    genReqId: () => randomUUID(),
  }).withTypeProvider();
  app.setValidatorCompiler(validatorCompiler).setSerializerCompiler(serializerCompiler);
  app.setErrorHandler(async (error, request, reply) => {
    const problem = problemOf(error, request.id);
    if (problem.status >= 500) request.log.error({ code: problem.code }, "request-failed");
    await reply.code(problem.status).type("application/problem+json").send(JSON.stringify(problem));
  });
  app.setNotFoundHandler((request) => {
    throw new LoregraphError("ROUTE_UNKNOWN", `there is no ${request.method} ${request.url.slice(0, 200)}`);
  });
  return app;
}
