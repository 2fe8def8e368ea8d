import { ContextOverflowError, ModelRefusalError } from "@langchain/core/errors";
import { OutputParserException } from "@langchain/core/output_parsers";
import { OpenAIClient } from "@langchain/openai";
import { type ErrorCode, LoregraphError, loregraphError } from "../errors.ts";

const seconds = 1_000;
const minutes = 60 * seconds;

/** Waits after a rate limit, in milliseconds: where the server names none, after a spent quota, and the longest. */
const waits = { unnamed: 20 * seconds, quota: 10 * minutes, longest: 60 * minutes } as const;

type ApiError = InstanceType<typeof OpenAIClient.APIError>;

/**
 * The Loregraph error inside anything a model call threw, however deeply it was wrapped, or undefined for what has
 * nothing to do with a model, an abort among it.
 *
 * It has no cause, and its message quotes nothing that was thrown: a provider repeats keys and prompts in its
 * messages, a parser repeats answers, and loggers print causes.
 */
export function classifyModelError(error: unknown): LoregraphError | undefined {
  const known = loregraphError(error);
  if (known !== undefined) return known;
  for (const at of causes(error)) {
    const classed = classified(at);
    if (classed !== undefined) return classed;
  }
  return undefined;
}

/** The Loregraph error for whatever a call of a model server threw. Aborts are the caller's to tell apart. */
export function modelError(error: unknown): LoregraphError {
  return classifyModelError(error) ?? unfinished(error) ?? answerInvalid("the answer could not be read");
}

/** A model answered, but with nothing that can be used. `why` must not quote it. */
export function answerInvalid(why: string): LoregraphError {
  return new LoregraphError("MODEL_ANSWER_INVALID", why);
}

function* causes(error: unknown): Generator<Error> {
  for (let at = error, depth = 0; at instanceof Error && depth < 10; at = at.cause, depth++) yield at;
}

function classified(error: Error): LoregraphError | undefined {
  if (error instanceof OpenAIClient.APIUserAbortError) return undefined;
  if (error instanceof OpenAIClient.APIConnectionError) return unreachable(error);
  if (error instanceof OpenAIClient.APIError) return refused(error);
  if (ContextOverflowError.isInstance(error)) {
    return new LoregraphError("MODEL_REFUSED", "the prompt is longer than the model's context");
  }
  if (ModelRefusalError.isInstance(error)) return answerInvalid("the model refused to answer");
  if (error instanceof OutputParserException) return answerInvalid("the answer is not in the asked shape");
  return undefined;
}

function refused(error: ApiError): LoregraphError {
  const { status } = error;
  if (status === undefined) return answerInvalid("the answer is an error without a status");
  if (status === 429) return rateLimited(error);
  const after = retryAfter(error.headers);
  return new LoregraphError(codeOf(status), `the model server answered ${described(error)}`, {
    ...(after === undefined ? {} : { after }),
  });
}

/** 408 and 409 are a server's own time-outs and locks. */
function codeOf(status: number): ErrorCode {
  return status >= 500 || status === 408 || status === 409 ? "MODEL_UNAVAILABLE" : "MODEL_REFUSED";
}

/** A spent quota waits too: when the account is topped up, what waited goes on by itself. */
function rateLimited(error: ApiError): LoregraphError {
  const quota = error.code === "insufficient_quota" || error.type === "insufficient_quota";
  const wait = quota ? waits.quota : waits.unnamed;
  return new LoregraphError("RATE_LIMITED", `the model server answered ${described(error)}`, {
    after: retryAfter(error.headers) ?? new Date(Date.now() + wait),
  });
}

/** When the server says to come back, at most an hour from now. Retry-After is in seconds or a date. */
function retryAfter(headers: Headers | undefined): Date | undefined {
  const now = Date.now();
  const wait = milliseconds(headers?.get("retry-after-ms")) ?? delay(headers?.get("retry-after"), now);
  return wait === undefined ? undefined : new Date(now + Math.min(Math.max(wait, 0), waits.longest));
}

function delay(header: string | null | undefined, now: number): number | undefined {
  const given = milliseconds(header);
  if (given !== undefined) return given * seconds;
  const date = Date.parse(header ?? "");
  return Number.isNaN(date) ? undefined : date - now;
}

function milliseconds(header: string | null | undefined): number | undefined {
  return header && /^\d+(\.\d+)?$/.test(header.trim()) ? Number(header) : undefined;
}

/** Status, and what the server calls it: lower-case words only, the form of neither a key nor a text. */
function described({ status, code, type, param, requestID }: ApiError): string {
  const words = [code, type, param].filter((word) => /^[a-z_]{1,64}$/.test(word ?? ""));
  const request = /^req_\w{1,64}$/.test(requestID ?? "") ? [`request ${requestID}`] : [];
  const said = [...new Set([...words, ...request])].join(", ");
  return said === "" ? String(status) : `${status} (${said})`;
}

function unreachable(error: Error): LoregraphError {
  const code = [...causes(error)].map(systemCode).find((found) => found !== undefined);
  const why = code === undefined ? "" : ` (${code})`;
  return error instanceof OpenAIClient.APIConnectionTimeoutError
    ? timedOut()
    : new LoregraphError(
        neverReached(code) ? "MODEL_UNREACHABLE" : "MODEL_UNAVAILABLE",
        `the model server cannot be reached${why}`,
      );
}

/** Did no byte get there? Then nothing was asked, and nothing can have been paid for. */
function neverReached(code: string | undefined): boolean {
  return /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/.test(
    code ?? "",
  );
}

/** A call that ended in the middle, in the shapes that LangChain and undici leave it in. */
function unfinished(error: unknown): LoregraphError | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name === "TimeoutError") return timedOut();
  return error instanceof TypeError && error.message === "terminated" ? unreachable(error) : undefined;
}

function timedOut(): LoregraphError {
  return new LoregraphError("MODEL_UNAVAILABLE", "the model server did not answer in time");
}

function systemCode(error: Error): string | undefined {
  const code = "code" in error ? String(error.code) : "";
  return /^[A-Z][A-Z0-9_]{2,40}$/.test(code) ? code : undefined;
}
