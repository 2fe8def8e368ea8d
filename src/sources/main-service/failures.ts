import { type HTTPError, isHTTPError, isNetworkError, isTimeoutError } from "ky";
import { LoregraphError, messageOf } from "../../errors.ts";
import { Malformed } from "./malformed.ts";

/** Does a service that answers this status refuse for now, rather than for good? */
export function isWorthARetry(status: number): boolean {
  return status === 408 || status === 429 || status >= 500;
}

/** What was asked for is not kept any more: 410. It is the cause of the refusal that tells it. */
export class Gone extends Error {}

/**
 * Why a request failed, after its retries; `what` names it. What ky throws holds the request, and with it the key: it
 * is told in our words, and never passed on as the cause.
 */
export function failureOf(error: unknown, what: string, key: string | undefined): unknown {
  if (isHTTPError(error)) return ofStatus(error, what, key);
  if (isTimeoutError(error)) return away(`${what} took too long, however often it was tried`);
  if (isNetworkError(error)) return away(`${what}: ${reasonOf(error.cause)}`, error.cause);
  if (error instanceof Malformed) return invalid(what, error.message, error);
  return error;
}

function ofStatus({ response, data }: HTTPError, what: string, key: string | undefined): LoregraphError {
  const { status, headers } = response;
  if (status < 400)
    return invalid(what, `expected no redirect, got: ${status}; name its target as the service's URL`);
  const message = `the main service answered ${status} to ${what}${titleOf(data, key)}`;
  if (status === 410) return new LoregraphError("SOURCE_REFUSED", message, { cause: new Gone() });
  if (!isWorthARetry(status)) return new LoregraphError("SOURCE_REFUSED", message);
  const after = momentOf(headers.get("retry-after"));
  return new LoregraphError("SOURCE_UNAVAILABLE", message, after ? { after } : {});
}

/** The title of a problem, which may be anything at all. */
function titleOf(problem: unknown, key: string | undefined): string {
  if (typeof problem !== "object" || problem === null || !("title" in problem)) return "";
  const title = String(problem.title).replace(/\s+/g, " ");
  return `: ${key === undefined ? title : title.replaceAll(key, "[key]")}`.slice(0, 200);
}

/** Retry-After is in seconds or a date. */
function momentOf(retryAfter: string | null): Date | undefined {
  if (retryAfter === null) return undefined;
  const date = new Date(/^\d+$/.test(retryAfter) ? Date.now() + Number(retryAfter) * 1_000 : retryAfter);
  return Number.isNaN(date.getTime()) ? undefined : date;
}

function invalid(what: string, message: string, cause?: unknown): LoregraphError {
  const said = `the main service's answer to ${what} is wrong: ${message}`;
  return new LoregraphError("SOURCE_ANSWER_INVALID", said, cause === undefined ? {} : { cause });
}

function away(message: string, cause?: unknown): LoregraphError {
  const said = `the main service is away: ${message}`;
  return new LoregraphError("SOURCE_UNAVAILABLE", said, cause === undefined ? {} : { cause });
}

/** What the network said, which `fetch` hides below its own words. */
function reasonOf(error: unknown): string {
  const inner = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return inner instanceof Error && "code" in inner ? String(inner.code) : messageOf(inner);
}
