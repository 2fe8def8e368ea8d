import ky, { type KyInstance } from "ky";
import pLimit from "p-limit";
import { LoregraphError } from "../../errors.ts";
import { readBody } from "./body.ts";
import { failureOf, isWorthARetry } from "./failures.ts";

export type RequestOptions = {
  /** Where the service is; a path in it is kept. */
  readonly url: string;
  /** Sent as a bearer token, to this service alone. */
  readonly key?: string | undefined;
  /** The longest wait for one whole answer, in milliseconds. Defaults to 10 s. */
  readonly timeoutMs?: number | undefined;
  /** The most requests at a time. Defaults to 4. */
  readonly concurrency?: number | undefined;
  /** The largest answer that is read, in bytes. Defaults to 64 MiB. */
  readonly maxAnswerBytes?: number | undefined;
  /** How often a request is tried again after 408, 429, 5xx, a time-out or a broken connection. Defaults to 5. */
  readonly retries?: number | undefined;
  /** The longest wait before the first retry, in milliseconds; it doubles, up to 10 s. Defaults to 250 ms. */
  readonly backoffMs?: number | undefined;
  /** The longest wait that Retry-After is granted, in milliseconds. Defaults to 60 s. */
  readonly retryAfterMs?: number | undefined;
};

export type Asked<Answer> = {
  readonly method: "get" | "post";
  /** Below the service's URL, without a leading slash. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string | number | undefined>>;
  readonly body?: unknown;
  /** Makes sense of the answer's bytes, or throws Malformed. */
  readonly read: (bytes: ArrayBuffer) => Answer;
};

/**
 * Asks, tries again where that helps, and answers what was read. Throws SOURCE_UNAVAILABLE, SOURCE_REFUSED,
 * SOURCE_ANSWER_INVALID, or the signal's reason; none of them holds the key or what an entity says.
 */
export type Ask = <Answer>(asked: Asked<Answer>, signal?: AbortSignal) => Promise<Answer>;

/** Throws CONFIG_INVALID for a URL or a key that cannot be used. */
export function openRequests(options: RequestOptions): Ask {
  const client = openClient(options);
  const limit = pLimit(options.concurrency ?? 4);
  return async ({ method, path, query, body, read }, signal) => {
    const send = () =>
      client(path, {
        method,
        ...(query && { searchParams: { ...query } }),
        ...(body !== undefined && { json: body }),
        ...(signal && { signal }),
      }).arrayBuffer();
    try {
      return read(await limit(send));
    } catch (error) {
      signal?.throwIfAborted();
      throw failureOf(error, nameOf(method, path, query), options.key);
    }
  };
}

const retried = Array.from({ length: 200 }, (_, at) => 400 + at).filter(isWorthARetry);

function openClient({ url, key, timeoutMs = 10_000, ...options }: RequestOptions): KyInstance {
  const { retries = 5, backoffMs = 250, retryAfterMs = 60_000, maxAnswerBytes = 64 * 1024 * 1024 } = options;
  return ky.create({
    prefix: checkedUrl(url),
    headers: { accept: "application/json", ...authorization(key) },
    timeout: timeoutMs,
    redirect: "manual", // whoever is redirected to would be given the key
    retry: {
      limit: retries,
      methods: ["get", "post"],
      statusCodes: retried,
      afterStatusCodes: retried,
      maxRetryAfter: retryAfterMs,
      delay: (attempt) => Math.min(10_000, backoffMs * 2 ** (attempt - 1)),
      jitter: true,
      retryOnTimeout: true,
    },
    // The body is read here, so that one that breaks off or takes too long is tried again like any other failure.
    fetch: async (request, init) => {
      const response = await fetch(request, init);
      return response.ok ? new Response(await readBody(response, maxAnswerBytes)) : response;
    },
  });
}

function checkedUrl(written: string): string {
  const url = URL.parse(written);
  const plain = url && !url.username && !url.password && !url.search && !url.hash;
  if (plain && /^https?:$/.test(url.protocol)) return written;
  throw new LoregraphError(
    "CONFIG_INVALID",
    "LOREGRAPH_MAIN_SERVICE_URL: expected http(s)://host/path without credentials, query or fragment",
  );
}

/** A key that no header can carry would be quoted by the error that says so. */
function authorization(key: string | undefined): Readonly<Record<string, string>> {
  if (key === undefined) return {};
  if (/^[\x21-\x7e]+$/.test(key)) return { authorization: `Bearer ${key}` };
  throw new LoregraphError(
    "CONFIG_INVALID",
    "LOREGRAPH_MAIN_SERVICE_KEY: expected printable ASCII without blanks",
  );
}

/** The request as an error names it. */
function nameOf(method: string, path: string, query: Asked<unknown>["query"] = {}): string {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.append(name, String(value));
  }
  return `${method.toUpperCase()} /${path}${search.size > 0 ? `?${search}` : ""}`.slice(0, 300);
}
