import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyBaseLogger, FastifyInstance, RawServerDefault } from "fastify";
import type { ZodTypeProvider } from "fastify-type-provider-zod";
import type { Pool } from "../db.ts";
import type { Registry } from "../registry.ts";
import type { PlanContext } from "../reingest/plan.ts";
import type { Log } from "../telemetry/log.ts";
import type { Sending } from "../webhooks/send.ts";

/** What the routes are lent. */
export type Services = {
  readonly pool: Pool;
  readonly schema: string;
  readonly registry: Registry;
  readonly models: PlanContext["models"];
  readonly log: Log;
  /** The longest text of one entity, in UTF-16 code units. Defaults to 2,000,000. */
  readonly maxTextChars?: number;
  /** Is there a main service, for the reingests that name it? Defaults to no. */
  readonly hasMainService?: boolean;
  /** How webhooks are tried out. Defaults to public addresses alone, and 10 s. */
  readonly webhooks?: Sending | undefined;
};

/** The fastify app whose routes are typed by their zod schemas. */
export type App = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  ZodTypeProvider
>;

/**
 * Who may call a route: `open` anyone; `read` and `write` a key of the tenant in its path, or an admin's; `admin` an
 * admin's alone. Every route names one.
 */
export type Scope = "open" | "read" | "write" | "admin";

declare module "fastify" {
  interface FastifyContextConfig {
    readonly scope?: Scope;
  }
}
