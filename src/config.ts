import { existsSync } from "node:fs";
import { loadEnvFile } from "node:process";
import { z } from "zod";
import { LoregraphError } from "./errors.ts";

const url = (protocol: RegExp) => z.url({ protocol }).optional();

/** Every setting, its name in the environment, its default and its unit. Nothing else reads `process.env`. */
export const Settings = z.object({
  DATABASE_URL: url(/^postgres(ql)?$/).describe("Any Postgres from 15 on. Absent: an embedded one."),
  LOREGRAPH_HOME: z.string().default(".loregraph").describe("Where the embedded Postgres keeps its data"),
  LOREGRAPH_SCHEMA: z
    .string()
    .regex(/^[a-z_][a-z0-9_]{0,50}$/)
    .refine((name) => !/^(public|information_schema|pg_.*)$/.test(name), "expected a schema of our own")
    .default("loregraph")
    .describe("The one schema that holds every table"),
  LOREGRAPH_GRAPHS: z
    .string()
    .optional()
    .describe("Path of langgraph.json. Absent: the working folder's, else ours."),
  LOREGRAPH_LOG_LEVEL: z
    .enum(["trace", "debug", "info", "warn", "error", "silent"])
    .default("info")
    .describe("The least severe log line that is written"),
  LOREGRAPH_MAX_TEXT_CHARS: z.coerce
    .number()
    .int()
    .positive()
    .default(2_000_000)
    .describe("The longest text of one entity, in UTF-16 code units"),
  LOREGRAPH_LEASE_MS: z.coerce
    .number()
    .int()
    .min(200)
    .max(3_600_000)
    .default(10_000)
    .describe("How long an unrenewed lease holds"),
  LOREGRAPH_DRAIN_MS: z.coerce
    .number()
    .int()
    .nonnegative()
    .max(3_600_000)
    .default(10_000)
    .describe("How long a stopping worker lets attempts end before it releases them"),
  LOREGRAPH_HOST: z.string().min(1).default("127.0.0.1").describe("The address that the API listens on"),
  LOREGRAPH_PORT: z.coerce
    .number()
    .int()
    .min(0)
    .max(65_535)
    .default(7411)
    .describe("The API's port; 0 takes a free one"),
  LOREGRAPH_MAX_BODY_BYTES: z.coerce
    .number()
    .int()
    .min(1_024)
    .max(1_073_741_824)
    .default(8_388_608)
    .describe("The largest body that the API reads"),
  LOREGRAPH_REQUESTS_PER_MINUTE: z.coerce
    .number()
    .int()
    .positive()
    .default(6_000)
    .describe("Requests that one key may make, in each API process"),
  LOREGRAPH_STUDIO_KEY: z
    .string()
    .regex(/^[A-Za-z0-9_-]{16,200}$/, "expected 16 to 200 letters, digits, - or _")
    .optional()
    .describe("The key of `loregraph studio`. Absent: one is made at each start."),
  LOREGRAPH_MAIN_SERVICE_URL: url(/^https?$/).describe("The product's own service, the source of entities"),
  LOREGRAPH_MAIN_SERVICE_KEY: z.string().min(1).optional().describe("Sent to it as a bearer token"),
  LOREGRAPH_MAIN_SERVICE_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .positive()
    .max(3_600_000)
    .default(10_000)
    .describe("The longest wait for one of its answers"),
  LOREGRAPH_WEBHOOK_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .positive()
    .max(60_000)
    .default(10_000)
    .describe("The longest wait for a subscriber's answer"),
  LOREGRAPH_WEBHOOK_DISABLE_HOURS: z.coerce
    .number()
    .positive()
    .max(8_760)
    .default(120)
    .describe("How long a subscriber may fail before it is disabled"),
  LOREGRAPH_WEBHOOK_PRIVATE: z
    .stringbool()
    .default(false)
    .describe("May webhooks go to private and loopback addresses?"),
  OPENAI_API_KEY: z.string().min(1).optional().describe("Key of OpenAI or of a compatible server"),
  OPENAI_BASE_URL: url(/^https?$/).describe("Any OpenAI-compatible server"),
  LOREGRAPH_CHAT_MODEL: z
    .string()
    .min(1)
    .default("gpt-4o-mini")
    .describe("The chat model that graphs are lent"),
  LOREGRAPH_EMBEDDING_MODEL: z
    .string()
    .min(1)
    .default("text-embedding-3-small")
    .describe("The embedding model"),
  LOREGRAPH_MODEL_TIMEOUT_MS: z.coerce
    .number()
    .int()
    .positive()
    .max(3_600_000)
    .default(60_000)
    .describe("The longest model call"),
  LOREGRAPH_MODEL_LIMITS: z
    .string()
    .optional()
    .describe("Path of a JSON table of what providers allow; absent, it is learnt from their answers"),
  LOREGRAPH_MODEL_CACHE: z
    .enum(["off", "on"])
    .default("off")
    .describe("Are a tenant's same questions to the chat model answered from what was answered before?"),
  LOREGRAPH_MODEL_CACHE_HOURS: z.coerce
    .number()
    .positive()
    .max(8_760)
    .default(168)
    .describe("How long such answers are kept"),
  LOREGRAPH_PRICES: z
    .string()
    .optional()
    .describe("Path of a JSON price table that replaces the built-in one"),
});

export type Config = {
  readonly databaseUrl: string | undefined;
  readonly home: string;
  readonly schema: string;
  readonly graphs: string | undefined;
  readonly logLevel: z.infer<typeof Settings>["LOREGRAPH_LOG_LEVEL"];
  readonly maxTextChars: number;
  readonly leaseMs: number;
  readonly drainMs: number;
  readonly studioKey: string | undefined;
  readonly models: ModelSettings;
  /** Undefined where answers of models are not kept. */
  readonly modelCache: { readonly maxAgeMs: number } | undefined;
  readonly http: HttpSettings;
  readonly mainService: MainServiceSettings;
  readonly webhooks: WebhookSettings;
};

export type HttpSettings = {
  readonly host: string;
  readonly port: number;
  readonly maxBodyBytes: number;
  readonly requestsPerMinute: number;
};

/** Where the product's own service is; without a URL there is none. */
export type MainServiceSettings = {
  readonly url: string | undefined;
  readonly key: string | undefined;
  readonly timeoutMs: number;
};

export type WebhookSettings = {
  readonly timeoutMs: number;
  readonly disableAfterMs: number;
  /** May they go to private and loopback addresses? */
  readonly toPrivate: boolean;
};

/** Which models to use. With neither key nor base URL, they are local and call nothing. */
export type ModelSettings = {
  readonly apiKey: string | undefined;
  readonly baseUrl: string | undefined;
  readonly chatModel: string;
  readonly embeddingModel: string;
  readonly timeoutMs: number;
  readonly prices: string | undefined;
  /** Absent: the model's own. */
  readonly temperature?: number | undefined;
  /** Where a table of limits is. */
  readonly limits?: string | undefined;
};

/** Reads the environment, after a `.env` file of the working folder where there is one. Names each wrong setting. */
export function readConfig(env: NodeJS.ProcessEnv = process.env): Config {
  if (env === process.env && existsSync(".env")) loadEnvFile(".env");
  const parsed = Settings.safeParse(withoutBlanks(env));
  if (!parsed.success) {
    throw new LoregraphError("CONFIG_INVALID", `settings are wrong:\n${z.prettifyError(parsed.error)}`);
  }
  const settings = parsed.data;
  return {
    databaseUrl: settings.DATABASE_URL,
    home: settings.LOREGRAPH_HOME,
    schema: settings.LOREGRAPH_SCHEMA,
    graphs: settings.LOREGRAPH_GRAPHS,
    logLevel: settings.LOREGRAPH_LOG_LEVEL,
    maxTextChars: settings.LOREGRAPH_MAX_TEXT_CHARS,
    leaseMs: settings.LOREGRAPH_LEASE_MS,
    drainMs: settings.LOREGRAPH_DRAIN_MS,
    studioKey: settings.LOREGRAPH_STUDIO_KEY,
    models: {
      apiKey: settings.OPENAI_API_KEY,
      baseUrl: settings.OPENAI_BASE_URL,
      chatModel: settings.LOREGRAPH_CHAT_MODEL,
      embeddingModel: settings.LOREGRAPH_EMBEDDING_MODEL,
      timeoutMs: settings.LOREGRAPH_MODEL_TIMEOUT_MS,
      prices: settings.LOREGRAPH_PRICES,
      limits: settings.LOREGRAPH_MODEL_LIMITS,
    },
    modelCache:
      settings.LOREGRAPH_MODEL_CACHE === "on"
        ? { maxAgeMs: settings.LOREGRAPH_MODEL_CACHE_HOURS * 3_600_000 }
        : undefined,
    http: {
      host: settings.LOREGRAPH_HOST,
      port: settings.LOREGRAPH_PORT,
      maxBodyBytes: settings.LOREGRAPH_MAX_BODY_BYTES,
      requestsPerMinute: settings.LOREGRAPH_REQUESTS_PER_MINUTE,
    },
    mainService: {
      url: settings.LOREGRAPH_MAIN_SERVICE_URL,
      key: settings.LOREGRAPH_MAIN_SERVICE_KEY,
      timeoutMs: settings.LOREGRAPH_MAIN_SERVICE_TIMEOUT_MS,
    },
    webhooks: {
      timeoutMs: settings.LOREGRAPH_WEBHOOK_TIMEOUT_MS,
      disableAfterMs: settings.LOREGRAPH_WEBHOOK_DISABLE_HOURS * 3_600_000,
      toPrivate: settings.LOREGRAPH_WEBHOOK_PRIVATE,
    },
  };
}

/** An empty variable means "not set", as in a compose file that passes `OPENAI_API_KEY=`. */
function withoutBlanks(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
}
