import { randomBytes } from "node:crypto";
import { Option } from "@commander-js/extra-typings";
import { CheckpointSaver } from "../../../checkpoints/saver.ts";
import { CheckpointWriter } from "../../../checkpoints/writer.ts";
import { openPool } from "../../db.ts";
import { isLoopback, listen } from "../../http/listen.ts";
import { openStudio } from "../../studio-server/app.ts";
import { studioPage } from "../../studio-server/door.ts";
import { print } from "../output.ts";
import { newCommand, tenantOption, wholeNumber } from "../program.ts";
import { openRuntime } from "../runtime.ts";
import { aborted, type Session, withSession } from "../session.ts";
import { userName } from "../user.ts";
import { version } from "../version.ts";

/** How many questions may be asked of the database at once. */
const connections = 6;

export const command = () =>
  newCommand(
    "studio",
    "open runs in LangGraph Studio or its SDK",
    "loregraph studio --tenant 7b0c1f6e-3f57-4a0e-9b61-0f6d3a3f9c11",
  )
    .addOption(new Option("--host <address>", "where to listen").default("127.0.0.1"))
    .option("--port <n>", "on which port; 0 takes a free one", wholeNumber("--port", 0), 8124)
    .option("--allow-fork", "let states be edited and gone on from, in forks; default: read only")
    .addOption(tenantOption())
    .action(async ({ json, ...asked }) => {
      await withSession((session) => serve(session, asked, json));
    });

type Asked = {
  readonly host: string;
  readonly port: number;
  readonly tenant?: string | undefined;
  readonly allowFork?: true | undefined;
};

async function serve(
  session: Session,
  { host, port, tenant, allowFork }: Asked,
  json: true | undefined,
): Promise<void> {
  const { config, url, signal } = session;
  const { registry, models, log } = await openRuntime(session);
  const name = "loregraph studio";
  const reads = openPool(url, { schema: config.schema, max: connections, name, readOnly: true });
  const saver = new CheckpointSaver(new CheckpointWriter(reads));
  const key = config.studioKey ?? randomBytes(24).toString("base64url");
  const { maxBodyBytes } = config.http;
  const services = { reads, saver, registry, models, log, tenant_id: tenant };
  const forks = allowFork && { context: { pool: session.pool, registry, models }, by: userName() };
  const app = openStudio(services, { key, maxBodyBytes, version: version(), forks });
  try {
    const listening = await listen(app, { host, port });
    const allowed = allowFork ? "forks" : "reading";
    print({ ...listening, key, studio: studioUrl(listening.url, key), allowed }, json, asText);
    if (!isLoopback(host)) tell(`warning: ${host} can be reached by others, and the key travels as it is`);
    await aborted(signal);
  } finally {
    await app.close();
    await reads.end();
  }
}

/** Studio's page has no field for a key, so the key is a part of the address that it calls. */
function studioUrl(url: string, key: string): string {
  return `${studioPage}/studio/?baseUrl=${encodeURIComponent(`${url}/key/${key}`)}`;
}

type Said = { readonly url: string; readonly key: string; readonly studio: string; readonly allowed: string };

function asText({ url, key, studio, allowed }: Said): string {
  return [
    `listening at ${url}, ${allowed === "forks" ? "forks allowed" : "read only"}; a thread's id is its run's`,
    `Studio: ${studio}`,
    `SDK:    new Client({ apiUrl: "${url}", apiKey: "${key}" })`,
  ].join("\n");
}

function tell(what: string): void {
  process.stderr.write(`${what}\n`);
}
