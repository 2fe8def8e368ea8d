/** Requests over a real connection, and what no answer to them may be. */

import { Agent, request as ask, type IncomingHttpHeaders } from "node:http";
import { buffer } from "node:stream/consumers";
import { errorCodes } from "../../src/errors.ts";
import { Problem } from "../../src/http/problem.ts";
import type { Context } from "../../src/worker/context.ts";
import type { Request } from "./valid-requests.ts";

export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
};

const agent = new Agent({ keepAlive: true, maxSockets: 8 });

/** Sends a request as it is to a server on this machine. Of a stream, only its beginning is read. */
export async function send(
  port: number,
  { path, method, headers, body }: Request,
  token?: string,
): Promise<Answer> {
  const key = token === undefined ? {} : { authorization: `Bearer ${token}` };
  const sent = { host: "127.0.0.1", port, path, method, agent, headers: { ...key, ...headers } };
  return await new Promise((resolve, reject) => {
    const asked = ask(sent, (answer) => {
      const { statusCode: status = 0, headers } = answer;
      if (headers["content-type"]?.startsWith("text/event-stream")) {
        resolve({ status, headers, body: "" });
        return void asked.destroy();
      }
      buffer(answer).then((bytes) => resolve({ status, headers, body: bytes.toString() }), reject);
    });
    asked.on("error", reject).end(body);
  });
}

/** Of whatever asks: a stack, a file of ours, a statement or a complaint of Postgres. */
const inner = new RegExp(
  [
    /node_modules|file:\/\/|\.[cm]?[jt]s:\d|\n\s+at /,
    /syntax error at or near|invalid input syntax|invalid byte sequence|out of range for type/,
    /violates [\w-]+ constraint|duplicate key value|relation "|column "|pg_catalog|unsupported Unicode/,
    /\bselect\b.+\bfrom\b|\binsert into\b|\bupdate\b.+\bset\b.+=/,
  ]
    .map(({ source }) => source)
    .join("|"),
);

/** What is wrong with an answer, whatever was asked; undefined where nothing is. */
export function complaintAbout(
  { method, path }: Request,
  { status, headers, body }: Answer,
): string | undefined {
  if (status >= 500 || status < 200) return `it is ${status}: ${body.slice(0, 300)}`;
  if (status < 400) return path.startsWith("/docs") ? undefined : leakIn(body);
  if (!headers["content-type"]?.startsWith("application/problem+json"))
    return `its type is ${headers["content-type"]}`;
  if (body.length > 20_000) return `it is of ${body.length} characters`;
  return method === "HEAD" ? undefined : (problemIn(status, body) ?? leakIn(body));
}

function leakIn(body: string): string | undefined {
  const [leak] = inner.exec(body) ?? (body.includes(process.cwd()) ? [process.cwd()] : []);
  return leak && `it tells of what is inside: ${leak}`;
}

function problemIn(status: number, body: string): string | undefined {
  const problem = Problem.safeParse(JSON.parse(body));
  if (!problem.success) return `it is no problem: ${problem.error.message}`;
  const { code, status: told } = problem.data;
  return told === status && errorCodes[code].status === status ? undefined : `${code} is not of ${status}`;
}

/** All rows of a tenant, in one text for each table. */
export async function rowsOf(
  { pool }: Context,
  tenant_id: string,
): Promise<Readonly<Record<string, string>>> {
  const { rows: tables } = await pool.query(
    `select table_name as name from information_schema.columns
     where table_schema = 'loregraph' and column_name = 'tenant_id' and table_name <> 'api_keys' order by 1`,
  );
  const found = await Promise.all(
    tables.map(async ({ name }) => {
      const { rows } = await pool.query(
        `select coalesce(string_agg(t::text, e'\n' order by t::text), '') as rows from ${name} t where tenant_id = $1`,
        [tenant_id],
      );
      return [name, rows[0].rows];
    }),
  );
  return Object.fromEntries(found);
}
