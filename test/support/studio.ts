import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { Client } from "@langchain/langgraph-sdk";
import type { TestDatabase } from "./database.ts";

const main = fileURLToPath(new URL("../../src/cli/main.ts", import.meta.url));
const pipelines = fileURLToPath(new URL("studio-pipelines.ts", import.meta.url));

/** A langgraph.json that names the pipelines of studio-pipelines.ts, or those given as export by name. */
export async function studioGraphs(
  exported: Readonly<Record<string, string>> = Object.fromEntries(
    ["base", "steps", "asks", "quick", "walks", "nested"].map((name) => [name, name]),
  ),
  module: string = pipelines,
): Promise<string> {
  const file = join(await mkdtemp(join(tmpdir(), "loregraph-studio-")), "langgraph.json");
  const graphs = Object.entries(exported).map(([name, symbol]) => [name, `${module}:${symbol}`]);
  await writeFile(file, JSON.stringify({ graphs: Object.fromEntries(graphs) }));
  return file;
}

export type Studio = {
  readonly url: string;
  readonly key: string;
  /** The real SDK, which asks no second time what is refused. */
  readonly client: Client;
  /** What the server has written to stderr so far. */
  errors(): string;
  /** Asks it to end, and tells by what code it did. */
  stop(): Promise<number | null>;
};

/** `loregraph studio` as people start it, on a free port. For `beforeAll`: whoever starts it stops it. */
export async function startStudio(
  { url }: TestDatabase,
  { args = [], graphs, env = {} }: { args?: readonly string[]; graphs: string; env?: NodeJS.ProcessEnv },
): Promise<Studio> {
  const settings = { DATABASE_URL: url, LOREGRAPH_GRAPHS: graphs, LOREGRAPH_LOG_LEVEL: "debug", ...env };
  const child = spawn(process.execPath, [main, "studio", "--port", "0", "--json", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...settings },
  });
  const ended = once(child, "close").then(([code]: (number | null)[]) => code ?? null);
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text) => {
    errors += text;
  });
  const { value, done } = await createInterface({ input: child.stdout })[Symbol.asyncIterator]().next();
  if (done) throw new Error(`studio ended without saying where it listens: ${errors}`);
  const said: { url: string; key: string } = JSON.parse(value);
  return {
    ...said,
    client: new Client({ apiUrl: said.url, apiKey: said.key, callerOptions: { maxRetries: 0 } }),
    errors: () => errors,
    async stop() {
      child.kill("SIGTERM");
      return await ended;
    },
  };
}

/** Everything that a database holds, as text: two of it are equal only where no byte of a table differs. */
export async function wholeDatabase({ pool }: TestDatabase, but: readonly string[] = []): Promise<string> {
  const { rows } = await pool.query(
    "select relname from pg_class where relkind = 'r' and relnamespace = 'loregraph'::regnamespace order by relname",
  );
  const tables = await Promise.all(
    rows
      .filter(({ relname }) => !but.includes(relname))
      .map(async ({ relname }) => {
        const content = await pool.query(`select t::text as row from loregraph.${relname} t order by 1`);
        return [relname, ...content.rows.map(({ row }) => row)].join("\n");
      }),
  );
  return tables.join("\n\n");
}
