import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { type Db, execute, maybeOne } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { sha256 } from "../hash.ts";
import { requireKey } from "./auth.ts";
import { problemType } from "./problem.ts";
import type { App, Services } from "./services.ts";

declare module "fastify" {
  interface FastifyRequest {
    /** The answer that this request is to give once and for all, where it has an Idempotency-Key. */
    once: Once | null;
  }
}

type Once = { readonly key_id: string; readonly idempotency_key: string; readonly request_hash: string };

/** What a client may send as `Idempotency-Key`: any name that it gives to one request, kept for 24 hours. */
export const IdempotencyKey = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/, "expected 1 to 255 visible ASCII characters");

/** The request's Idempotency-Key, where it has one. Throws INPUT_INVALID for what cannot be one. */
export function idempotencyKeyOf({ headers }: Pick<FastifyRequest, "headers">): string | undefined {
  const given = headers["idempotency-key"];
  if (given === undefined) return undefined;
  const key = IdempotencyKey.safeParse(given);
  if (key.success) return key.data;
  throw new LoregraphError("INPUT_INVALID", `Idempotency-Key: ${key.error.issues[0]?.message}`);
}

/** Do requests of this method take an Idempotency-Key? */
export function takesIdempotencyKey(method: string | readonly string[]): boolean {
  return [method].flat().some((each) => ["POST", "PUT", "PATCH", "DELETE"].includes(each));
}

/**
 * A write that is sent again under the same Idempotency-Key, by the same API key, is not done again: it gets the
 * answer of the first. Answers of 500 and above are not kept, so that such a write may be sent again.
 */
export function answerOnce(app: App, { pool }: Pick<Services, "pool">): void {
  const forgetOldAnswers = forgetsOldAnswers(pool);
  app.decorateRequest("once", null);
  app.addHook("preHandler", async (request, reply) => {
    const once = onceOf(request);
    if (once === undefined) return;
    await forgetOldAnswers();
    if (await begin(pool, once)) request.once = once;
    else return replay(reply, await earlierAnswer(pool, once));
  });
  app.addHook("onSend", async ({ once, log }, reply, payload) => {
    if (once === null) return;
    try {
      await keepAnswer(pool, once, reply.statusCode, typeof payload === "string" ? payload : "");
    } catch (error) {
      // It was done, and its caller learns of it; only if the answer is lost on the way, it will be done again.
      log.error({ kind: error instanceof Error ? error.name : typeof error }, "answer-not-kept");
    }
  });
}

function onceOf(request: FastifyRequest): Once | undefined {
  const { is404, routeOptions } = request;
  if (is404 || routeOptions.config.scope === "open" || !takesIdempotencyKey(request.method)) return undefined;
  const idempotency_key = idempotencyKeyOf(request);
  if (idempotency_key === undefined) return undefined;
  const { method, url, body, key } = request;
  const request_hash = sha256(JSON.stringify([method, url, body]));
  return { key_id: requireKey(key).id, idempotency_key, request_hash };
}

/** Is this request the first, or the first that is left to answer it? One whose process ended is given up in a minute. */
async function begin(db: Db, { key_id, idempotency_key, request_hash }: Once): Promise<boolean> {
  const begun = await execute(
    db,
    `insert into idempotent_answers as known (key_id, idempotency_key, request_hash) values ($1, $2, $3)
     on conflict (key_id, idempotency_key) do update
     set request_hash = excluded.request_hash, status = null, body = null, created_at = now()
     where known.created_at < now() - interval '24 hours'
        or (known.status is null and known.created_at < now() - interval '1 minute'
            and known.request_hash = excluded.request_hash)`,
    [key_id, idempotency_key, request_hash],
  );
  return begun === 1;
}

const Answer = z.object({
  request_hash: z.string(),
  status: z.int().nullable(),
  body: z.string().nullable(),
});
type Answer = { readonly status: number; readonly body: string };

/** What the first request was answered. Throws IDEMPOTENCY_CONFLICT where it was another, or is under way. */
async function earlierAnswer(db: Db, { key_id, idempotency_key, request_hash }: Once): Promise<Answer> {
  const answer = await maybeOne(
    db,
    Answer,
    "select request_hash, status, body from idempotent_answers where key_id = $1 and idempotency_key = $2",
    [key_id, idempotency_key],
  );
  if (answer && answer.request_hash !== request_hash)
    throw new LoregraphError("IDEMPOTENCY_CONFLICT", "another request was sent under this Idempotency-Key");
  // No row: the first failed just now.
  if (answer?.status == null || answer.body === null)
    throw new LoregraphError("IDEMPOTENCY_CONFLICT", "the first request under this key is under way", {
      after: new Date(Date.now() + 1_000),
    });
  return { status: answer.status, body: answer.body };
}

function replay(reply: FastifyReply, { status, body }: Answer): FastifyReply {
  if (body !== "") reply.type(status >= 400 ? problemType : "application/json; charset=utf-8");
  return reply.code(status).header("idempotency-replayed", "true").send(body);
}

async function keepAnswer(db: Db, once: Once, status: number, body: string): Promise<void> {
  const { key_id, idempotency_key } = once;
  const statement =
    status < 500 ? "update idempotent_answers set status = $3, body = $4" : "delete from idempotent_answers";
  await execute(
    db,
    `${statement} where key_id = $1 and idempotency_key = $2 and status is null`,
    status < 500 ? [key_id, idempotency_key, status, body] : [key_id, idempotency_key],
  );
}

const hourMs = 3_600_000;

/** Answers that nobody can ask for any more go, once an hour. */
function forgetsOldAnswers(db: Db): () => Promise<void> {
  let last = Number.NEGATIVE_INFINITY;
  return async () => {
    if (performance.now() - last < hourMs) return;
    last = performance.now();
    await execute(db, "delete from idempotent_answers where created_at < now() - interval '24 hours'");
  };
}
