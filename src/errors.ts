/**
 * Every error Loregraph raises on purpose, in one table.
 *
 * `status` is the HTTP status an endpoint answers with; `retry` tells whether a later attempt of the same work
 * may succeed; `solve` is the sentence a person needs.
 */
export const errorCodes = {
  CONFIG_INVALID: { status: 500, retry: false, solve: "Correct the named setting and start again." },
  INPUT_INVALID: { status: 400, retry: false, solve: "Correct what is named and try again." },
  INPUT_TOO_LARGE: { status: 413, retry: false, solve: "Split the text, or raise LOREGRAPH_MAX_TEXT_CHARS." },
  FILE_UNREADABLE: { status: 400, retry: false, solve: "Name a readable text file." },
  NOT_FOUND: { status: 404, retry: false, solve: "Check the id and the tenant." },
  DATABASE_UNAVAILABLE: { status: 503, retry: true, solve: "Start Postgres, or correct DATABASE_URL." },
  EMBEDDED_POSTGRES: { status: 500, retry: false, solve: "Read the server log that the message names." },
  MIGRATION_FAILED: {
    status: 500,
    retry: false,
    solve: "Correct the database as the cause says, then run `loregraph migrate`.",
  },
  REGISTRY_INVALID: { status: 500, retry: false, solve: "Correct the named entry of langgraph.json." },
  PIPELINE_INVALID: {
    status: 500,
    retry: false,
    solve: "Correct the named field in the pipeline's definition.",
  },
  STATE_TRANSITION: {
    status: 409,
    retry: false,
    solve: "Read the run's status first; only the listed transitions are legal.",
  },
  LEASE_EXPIRED: {
    status: 500,
    retry: true,
    solve: "Nothing: the run is tried again by itself. Look for the end of the worker that held it.",
  },
  CANCELLED: {
    status: 409,
    retry: false,
    solve: "Nothing: somebody asked for it, or the entity is gone.",
  },
  LEASE_LOST: {
    status: 409,
    retry: true,
    solve: "Nothing: another worker has the run. Shorter nodes or a longer lease make it rarer.",
  },
  ANSWER_INVALID: { status: 422, retry: true, solve: "Make the graph answer what its pipeline promises." },
  EVENT_UNKNOWN: {
    status: 422,
    retry: false,
    solve: "List the event under `emits` in the pipeline's definition.",
  },
  GRAPH_ENDLESS: {
    status: 422,
    retry: false,
    solve: "Give the loop a way out: a conditional edge to END, or a count in the state. Then redrive.",
  },
  WORKERS_LOST: {
    status: 500,
    retry: false,
    solve:
      "Look for a loop without an await in its graph, which blocks the whole worker, or for what takes all memory; then redrive.",
  },
  GRAPH_FAILED: {
    status: 500,
    retry: true,
    solve: "Read the run's errors, then correct the graph and redrive.",
  },
  COMMIT_FAILED: {
    status: 500,
    retry: true,
    solve: "Read the cause: the database refused what the graph answered.",
  },
  ATTEMPT_TIMEOUT: {
    status: 504,
    retry: true,
    solve: "Raise the pipeline's `timeout`, or make its graph quicker.",
  },
  RATE_LIMITED: {
    status: 429,
    retry: true,
    solve: "Wait: the run is tried again by itself and loses no attempt.",
  },
  BUDGET_SPENT: {
    status: 429,
    retry: true,
    solve:
      "Wait for the end of the budget's period, or raise it by `loregraph budget set`; no attempt is lost.",
  },
  MODEL_REQUIRED: {
    status: 422,
    retry: false,
    solve:
      "Configure a chat model (OPENAI_API_KEY or OPENAI_BASE_URL), or name what the graph does without one under `local` in its definition.",
  },
  TAPE_INCOMPLETE: {
    status: 422,
    retry: false,
    solve: "Record it: run the same with --record in place of --replay, with the model server at hand.",
  },
  MODEL_REFUSED: { status: 422, retry: false, solve: "Check the model's name, the key and the request." },
  MODEL_UNREACHABLE: {
    status: 502,
    retry: true,
    solve:
      "Check that the model server runs and OPENAI_BASE_URL names it; runs wait for it and lose no attempt.",
  },
  MODEL_UNAVAILABLE: { status: 502, retry: true, solve: "Check that OPENAI_BASE_URL answers." },
  UNAUTHENTICATED: {
    status: 401,
    retry: false,
    solve: "Send `Authorization: Bearer <key>` with a key that is neither expired nor revoked.",
  },
  FORBIDDEN: {
    status: 403,
    retry: false,
    solve: "Use a key with the scope that the message names; `loregraph keys create` makes one.",
  },
  BODY_TOO_LARGE: {
    status: 413,
    retry: false,
    solve: "Send less at a time, or raise LOREGRAPH_MAX_BODY_BYTES.",
  },
  MEDIA_TYPE_UNSUPPORTED: { status: 415, retry: false, solve: "Send `Content-Type: application/json`." },
  ROUTE_UNKNOWN: { status: 404, retry: false, solve: "See /docs for what there is." },
  IDEMPOTENCY_CONFLICT: {
    status: 409,
    retry: false,
    solve:
      "Send the same request under the same Idempotency-Key, or another key; one under way ends by itself.",
  },
  TOO_MANY_REQUESTS: {
    status: 429,
    retry: true,
    solve: "Wait as long as Retry-After says, or raise LOREGRAPH_REQUESTS_PER_MINUTE.",
  },
  OVERLOADED: { status: 503, retry: true, solve: "Try again later, or run another API process." },
  INTERNAL: { status: 500, retry: false, solve: "Look up the answer's request id in the log." },
  LIMIT_REACHED: {
    status: 409,
    retry: false,
    solve: "Resume it with a higher limit; its status says what was used.",
  },
  SOURCE_UNAVAILABLE: {
    status: 502,
    retry: true,
    solve: "Check that the main service runs and LOREGRAPH_MAIN_SERVICE_URL names it.",
  },
  SOURCE_REFUSED: {
    status: 502,
    retry: false,
    solve: "Check LOREGRAPH_MAIN_SERVICE_KEY and what the main service lets it read.",
  },
  SOURCE_ANSWER_INVALID: {
    status: 502,
    retry: false,
    solve: "Make the main service answer as docs/main-service.openapi.json says.",
  },
  WEBHOOK_FAILED: {
    status: 502,
    retry: true,
    solve: "Make the subscriber answer 2xx within the time-out; deliveries are tried again by themselves.",
  },
  READ_ONLY: {
    status: 403,
    retry: false,
    solve: "To fork a run, start `loregraph studio` with --allow-fork; new work is done in `npm run studio`.",
  },
  CHECKPOINT_UNKNOWN: {
    status: 404,
    retry: false,
    solve: "Name a checkpoint of the thread's history; `checkpoints.keepHours` says how long they are kept.",
  },
  FORK_REFUSED: {
    status: 409,
    retry: false,
    solve: "Do what the message says, or run the entity again and fork that run.",
  },
  MODEL_ANSWER_INVALID: {
    status: 502,
    retry: true,
    solve: "Try another model: this one does not answer in the asked shape.",
  },
} as const satisfies Record<string, { status: number; retry: boolean; solve: string }>;

export type ErrorCode = keyof typeof errorCodes;

/** An error with a code from the table. `cause` is what was caught; `after` is when a retry makes sense. */
export class LoregraphError extends Error {
  override readonly name = "LoregraphError";
  readonly code: ErrorCode;
  readonly after: Date | undefined;

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; after?: Date } = {}) {
    super(message, "cause" in options ? { cause: options.cause } : {});
    this.code = code;
    this.after = options.after;
  }

  get solve(): string {
    return errorCodes[this.code].solve;
  }
}

/** The Loregraph error inside `error`, however deeply LangGraph or a library wrapped it. */
export function loregraphError(error: unknown): LoregraphError | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 10; at = at.cause, depth++) {
    if (at instanceof LoregraphError) return at;
  }
  return undefined;
}

/** What a person reads of any thrown value: its message, never its stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
