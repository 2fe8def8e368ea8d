import helmet from "@fastify/helmet";
import rateLimit, { normalizeIP } from "@fastify/rate-limit";
import underPressure from "@fastify/under-pressure";
import type { FastifyRequest } from "fastify";
import type { HttpSettings } from "../config.ts";
import { LoregraphError } from "../errors.ts";
import type { App } from "./services.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** What becomes of a request that comes while the process is too busy. Defaults to OVERLOADED. */
    readonly pressureHandler?: () => void;
  }
}

/** For routes by which others learn how we are: they answer however busy we are, and however often they are asked. */
export const alwaysAnswers = { rateLimit: false, pressureHandler: () => {} } as const;

const longestReadMs = 60_000;

/**
 * A read that takes too long is given up. A write is not: it would go on, and its caller would send it again. Nor is a
 * stream, which goes on for as long as somebody listens; it is known by answering no HEAD.
 */
export function limitReads(app: App): void {
  app.addHook("onRoute", (route) => {
    if (route.method === "GET" && route.exposeHeadRoute !== false) route.handlerTimeout ??= longestReadMs;
  });
}

/** While the process answers so slowly that its event loop is this late, it takes no more. */
const longestDelayMs = 1_000;

export async function limitLoad(app: App): Promise<void> {
  await app.register(underPressure, {
    maxEventLoopDelay: longestDelayMs,
    message: "too much is asked at once",
    retryAfter: 5,
  });
}

/** Counts requests by key, and those of strangers by their address. Each process counts for itself. */
export async function limitRates(
  app: App,
  { requestsPerMinute }: Pick<HttpSettings, "requestsPerMinute">,
): Promise<void> {
  await app.register(rateLimit, {
    max: requestsPerMinute,
    timeWindow: 60_000,
    cache: 10_000,
    keyGenerator: ({ key, ip }: FastifyRequest) => key?.id ?? normalizeIP(ip),
    errorResponseBuilder: (_, { max }) =>
      new LoregraphError("TOO_MANY_REQUESTS", `more than ${max} requests in a minute`),
  });
}

/** No answer is a page, so that none may load, frame or run anything. TLS, and with it HSTS, is the proxy's. */
export async function guardAnswers(app: App): Promise<void> {
  await app.register(helmet, {
    hsts: false,
    contentSecurityPolicy: {
      useDefaults: false,
      directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] },
    },
  });
}
