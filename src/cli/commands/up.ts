import { Option } from "@commander-js/extra-typings";
import { LoregraphError } from "../../errors.ts";
import { isLoopback, type Listening, listen } from "../../http/listen.ts";
import { extendKey, type MadeKey, makeKey, revokeKey } from "../../keys/keys.ts";
import { keepHeeding } from "../../runtime.ts";
import type { Log } from "../../telemetry/log.ts";
import { keepDoing } from "../../worker/loop.ts";
import { openApi } from "../api.ts";
import { print } from "../output.ts";
import { newCommand, wholeNumber } from "../program.ts";
import { openRuntime } from "../runtime.ts";
import { aborted, type Session, withSession } from "../session.ts";
import { keepWorker, type WorkerProcess } from "../worker-process.ts";

/** How many answers may ask the database at once. */
const connections = 16;

export const command = () =>
  newCommand(
    "up",
    "answer the HTTP API and run pipelines: everything by one command",
    "loregraph up --concurrency 16",
  )
    .addOption(new Option("--host <address>", "where to listen; default: LOREGRAPH_HOST"))
    .option("--port <n>", "on which port; default: LOREGRAPH_PORT", wholeNumber("--port", 0))
    .option("--concurrency <n>", "how many graphs at a time", wholeNumber("--concurrency", 1), 8)
    .action(async ({ json, ...options }) => {
      await withSession((session) => up(session, options, json), { connections });
    });

/** What a worker needs to end beyond the time that it lets attempts end in, in milliseconds. */
const graceMs = 15_000;

type Options = {
  readonly host?: string | undefined;
  readonly port?: number | undefined;
  readonly concurrency: number;
};

async function up(session: Session, { concurrency, ...address }: Options, json: true | undefined) {
  const settings = settingsFor(session, address);
  const context = await openRuntime(session);
  const app = await openApi(session, context, settings);
  const key = session.embedded ? await keyOfThisStart(session, context.log) : undefined;
  let worker: WorkerProcess | undefined;
  try {
    const listening = await listen(app, settings);
    worker = keepWorker(["--concurrency", String(concurrency)], context.log);
    print({ ...listening, key: key?.token ?? null }, json, () => asText(listening, key));
    void keepHeeding(context, session.signal);
    await aborted(session.signal);
    context.log.info("closing");
  } finally {
    await Promise.all([app.close(), worker?.stop(session.config.drainMs + graceMs)]);
    if (key) await revokeKey(session.pool, key.key.id);
  }
}

/** The embedded database is for one machine, so its API is too. */
function settingsFor({ config, embedded }: Session, { host, port }: Omit<Options, "concurrency">) {
  const settings = { ...config.http, host: host ?? config.http.host, port: port ?? config.http.port };
  if (!embedded || isLoopback(settings.host)) return settings;
  throw new LoregraphError(
    "CONFIG_INVALID",
    `on the embedded Postgres the API listens on this machine alone, got: ${settings.host}; name a DATABASE_URL to serve others`,
  );
}

const hour = 3_600_000;

/** It lives as long as this process: revoked at its end, and no longer extended where that is killed. */
async function keyOfThisStart({ pool, signal }: Session, log: Log): Promise<MadeKey> {
  const given = { name: "loregraph up", scope: "admin", tenant_id: null, expiresInMs: hour } as const;
  const made = await makeKey(pool, given);
  void keepDoing({ what: "key-extended", everyMs: hour / 12, log, signal }, () =>
    extendKey(pool, made.key.id, hour),
  );
  return made;
}

function asText({ url }: Listening, key: MadeKey | undefined): string {
  const ask = key ? [`key of this start: ${key.token}`] : ["`loregraph keys create` makes a key"];
  return [`listening at ${url}, its API is described at ${url}/docs`, ...ask].join("\n");
}
