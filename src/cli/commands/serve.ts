import { Option } from "@commander-js/extra-typings";
import { isLoopback, type Listening, listen } from "../../http/listen.ts";
import { anyKey } from "../../keys/keys.ts";
import { keepHeeding } from "../../runtime.ts";
import { openApi } from "../api.ts";
import { print } from "../output.ts";
import { newCommand, wholeNumber } from "../program.ts";
import { openRuntime } from "../runtime.ts";
import { aborted, type Session, withSession } from "../session.ts";

/** How many answers may ask the database at once. */
const connections = 16;

export const command = () =>
  newCommand("serve", "answer the HTTP API until told to stop", "loregraph serve --port 7411")
    .addOption(new Option("--host <address>", "where to listen; default: LOREGRAPH_HOST"))
    .option("--port <n>", "on which port; default: LOREGRAPH_PORT", wholeNumber("--port", 0))
    .action(async ({ json, ...address }) => {
      await withSession((session) => serve(session, address, json), { connections });
    });

type Address = { readonly host?: string | undefined; readonly port?: number | undefined };

async function serve(session: Session, { host, port }: Address, json: true | undefined): Promise<void> {
  const { http } = session.config;
  const settings = { ...http, host: host ?? http.host, port: port ?? http.port };
  const context = await openRuntime(session);
  const app = await openApi(session, context, settings);
  try {
    const listening = await listen(app, settings);
    print(listening, json, ({ url }) => `listening at ${url}, its API is described at ${url}/docs`);
    await advise(session, listening);
    void keepHeeding(context, session.signal);
    await aborted(session.signal);
    context.log.info("closing");
  } finally {
    // Answers under way end first; streams are ended.
    await app.close();
  }
}

/** What whoever starts it should know, on stderr. */
async function advise({ pool }: Session, { host }: Listening): Promise<void> {
  if (!isLoopback(host))
    tell(
      `warning: ${host} can be reached by others, and keys travel as they are: put a proxy with TLS before it`,
    );
  if (!(await anyKey(pool))) tell("there is no key yet; `loregraph keys create --name me --admin` makes one");
}

function tell(what: string): void {
  process.stderr.write(`${what}\n`);
}
