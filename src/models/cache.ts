import type { Pool } from "../db.ts";
import { sha256 } from "../hash.ts";
import { findAnswer, type KeptAnswer, keepAnswers } from "./kept-answers.ts";
import type { Asker, Cache, ModelRequest, ModelResponse, Send } from "./layers.ts";

/** Longer answers are not kept, in UTF-16 code units. */
const longest = 262_144;

/** What one attempt has asked. An answer is undefined where it came from the cache, or cannot be kept. */
type Asked = Map<string, KeptAnswer | undefined>;

/**
 * A tenant's same question to a chat model is asked once: its answer is kept in Postgres, and where it is asked again
 * while it is on its way, this process waits for that answer. Vectors are known by their texts, and are not kept here.
 *
 * An answer is kept when the run that asked was answered well, so one that its graph could not use is served to nobody.
 * A graph that asks the same again, or a run that failed before, does not trust what is kept: the server is asked, and its
 * new answer takes the place of the old one. A cache that cannot be read or written costs a question, never a run.
 */
export function openCache(pool: Pool, { maxAgeMs }: { readonly maxAgeMs: number }): Cache {
  const asked = new WeakMap<Asker, Asked>();
  const underWay = new Map<string, Promise<ModelResponse>>();

  const askedBy = (asker: Asker): Asked => {
    const known = asked.get(asker) ?? new Map();
    asked.set(asker, known);
    return known;
  };

  /** Asks, or waits for who asks the same; what that could not get, is asked again. */
  async function once(key: string, next: Send, request: ModelRequest): Promise<ModelResponse> {
    const other = underWay.get(key);
    if (other !== undefined) {
      const shared = await Promise.race([other.catch(() => undefined), aborted(request.signal)]);
      if (shared?.status === 200) return { ...withoutTime(shared), from: "cache" };
      return await next(request);
    }
    const asking = next(request).finally(() => underWay.delete(key));
    underWay.set(key, asking);
    return await asking;
  }

  return {
    layer: (next) => async (request) => {
      const { asker, kind } = request;
      if (asker === undefined || kind !== "chat") return await next(request);
      const key = sha256(`${request.url} ${request.key}`);
      const known = askedBy(asker);
      const isNew = !known.has(key) && asker.fresh !== true;
      known.set(key, undefined);
      const kept = isNew ? await findAnswer(pool, asker.tenant_id, key).catch(() => undefined) : undefined;
      if (kept !== undefined) return answerOf(kept);
      const answer = isNew ? await once(`${asker.tenant_id} ${key}`, next, request) : await next(request);
      if (isKept(request, answer)) known.set(key, { key, model: answer.model, body: answer.body });
      return answer;
    },
    keep: async (asker) => {
      const answers = [...(asked.get(asker)?.values() ?? [])].filter((answer) => answer !== undefined);
      asked.delete(asker);
      if (answers.length > 0) await keepAnswers(pool, asker.tenant_id, answers, maxAgeMs);
    },
  };
}

/** What another model said, which stood in for the one that was asked, is no answer of that one. */
function isKept({ model }: ModelRequest, answer: ModelResponse): boolean {
  return answer.status === 200 && answer.model === model && answer.body.length <= longest;
}

function answerOf({ model, body }: { readonly model: string; readonly body: string }): ModelResponse {
  const headers = new Headers({ "content-type": "application/json" });
  return { status: 200, headers, body, from: "cache", model };
}

function withoutTime({ ms: _, ...response }: ModelResponse): ModelResponse {
  return response;
}

/** Rejects when the signal fires. */
function aborted(signal: AbortSignal | undefined): Promise<never> {
  return new Promise((_, reject) => {
    if (signal?.aborted) reject(signal.reason);
    signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
