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
  readonly models: ModelSettings;
};

/** Which models to use. With neither key nor base URL, they are local and call nothing. */
export type ModelSettings = {
  readonly apiKey: string | undefined;
  readonly baseUrl: string | undefined;
  readonly chatModel: string;
  readonly embeddingModel: string;
  readonly timeoutMs: number;
  readonly prices: string | undefined;
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
    models: {
      apiKey: settings.OPENAI_API_KEY,
      baseUrl: settings.OPENAI_BASE_URL,
      chatModel: settings.LOREGRAPH_CHAT_MODEL,
      embeddingModel: settings.LOREGRAPH_EMBEDDING_MODEL,
      timeoutMs: settings.LOREGRAPH_MODEL_TIMEOUT_MS,
      prices: settings.LOREGRAPH_PRICES,
    },
  };
}

/** An empty variable means "not set", as in a compose file that passes `OPENAI_API_KEY=`. */
function withoutBlanks(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ""));
}
