import { ContextOverflowError, ModelRefusalError } from "@langchain/core/errors";
import { OutputParserException } from "@langchain/core/output_parsers";
import { OpenAIClient } from "@langchain/openai";
import { type ErrorCode, LoregraphError, loregraphError } from "../errors.ts";
import { isTooLarge, retryAfterMs } from "./retry-after.ts";

const seconds = 1_000;
const minutes = 60 * seconds;

/** Waits after a rate limit, in milliseconds: where the server names none, and after a spent quota. */
const waits = { unnamed: 20 * seconds, quota: 10 * minutes } as const;

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

/** The model said no. */
export function declined(): LoregraphError {
  return answerInvalid("the model refused to answer: ask in other words, or another model");
}

/** The answer stopped at a limit of tokens, the model's own or a set one. */
export function cutOff(): LoregraphError {
  return answerInvalid(
    "the answer was cut off at its limit of tokens: let it be longer, or ask for less at once",
  );
}

/** The provider's filter stopped the answer. */
export function filtered(): LoregraphError {
  return answerInvalid(
    "the provider's content filter stopped the answer: ask in other words, or another model",
  );
}

function* causes(error: unknown): Generator<Error> {
  for (let at = error, depth = 0; at instanceof Error && depth < 10; at = at.cause, depth++) yield at;
}

function classified(error: Error): LoregraphError | undefined {
  if (error instanceof OpenAIClient.APIUserAbortError) return undefined;
  if (error instanceof OpenAIClient.APIConnectionError) return unreachable(error);
  if (error instanceof OpenAIClient.APIError) return refused(error);
  if (ContextOverflowError.isInstance(error)) {
    return tooLarge("for the model's context");
  }
  if (ModelRefusalError.isInstance(error)) return declined();
  // The client tells these two apart by their messages alone.
  if (/length limit was reached/.test(error.message)) return cutOff();
  if (/rejected by the content filter/.test(error.message)) return filtered();
  if (error instanceof OutputParserException) return answerInvalid("the answer is not in the asked shape");
  return undefined;
}

function refused(error: ApiError): LoregraphError {
  const { status } = error;
  if (status === undefined) return answerInvalid("the answer is an error without a status");
  if (status === 429)
    return isTooLarge(error.message) ? tooLarge("for the account's tokens a minute") : rateLimited(error);
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

/** When the server says to come back. */
function retryAfter(headers: Headers | undefined): Date | undefined {
  const wait = retryAfterMs(headers);
  return wait === undefined ? undefined : new Date(Date.now() + wait);
}

/** Status, and what the server calls it: lower-case words only, the form of neither a key nor a text. */
function described({ status, code, type, param, requestID }: ApiError): string {
  const words = [code, type, param].filter((word) => /^[a-z_]{1,64}$/.test(word ?? ""));
  const request = /^req_\w{1,64}$/.test(requestID ?? "") ? [`request ${requestID}`] : [];
  const said = [...new Set([...words, ...request])].join(", ");
  return said === "" ? String(status) : `${status} (${said})`;
}

function tooLarge(what: string): LoregraphError {
  const advice = "shorten the text, ask about parts of it, or take a model that reads more";
  return new LoregraphError("MODEL_REFUSED", `the prompt is too long ${what}: ${advice}`);
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
