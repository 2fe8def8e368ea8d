import type { FastifyError, FastifyReply, FastifyRequest } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { z } from "zod";
import { isConnectionError } from "../db.ts";
import { type ErrorCode, errorCodes, LoregraphError, loregraphError } from "../errors.ts";
import { requireKey } from "./auth.ts";
import type { App } from "./services.ts";

/** What every refusal answers: RFC 9457, with a code of the table in docs/errors.md. */
export const Problem = z
  .object({
    type: z.string().describe("Where the code is explained"),
    title: z.string(),
    status: z.int(),
    code: z.enum(Object.keys(errorCodes) as [ErrorCode, ...ErrorCode[]]),
    detail: z.string().describe("What was wrong, this time"),
    solve: z.string().describe("What to do about it"),
    retry: z.boolean().describe("Is the same request worth sending again?"),
    instance: z.string().describe("The request's id, as the log has it"),
    errors: z
      .array(z.object({ path: z.string(), message: z.string() }))
      .optional()
      .describe("The first 20 mistakes"),
  })
  .meta({
    id: "Problem",
    examples: [
      {
        type: "/docs/errors#INPUT_INVALID",
        title: "input invalid",
        status: 400,
        code: "INPUT_INVALID",
        detail: "body/batch_size: Too big: expected number to be <=5000",
        solve: errorCodes.INPUT_INVALID.solve,
        retry: false,
        instance: "0d9c6a8e-6a4f-4c2e-9a54-5a0c1f0e7b11",
        errors: [{ path: "body/batch_size", message: "Too big: expected number to be <=5000" }],
      },
    ],
  });
export type Problem = z.infer<typeof Problem>;

/** Makes every error an answer of ours, and an unknown route one that a stranger is not told of. */
export function answerProblems(app: App): void {
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler({ preHandler: app.rateLimit() }, ({ key, method, url }) => {
    requireKey(key);
    throw new LoregraphError("ROUTE_UNKNOWN", `there is no ${method} ${url.slice(0, 200)}`);
  });
}

/** Answers an error, and logs it where it is ours: what it is and where, but not its message, which may quote. */
export function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const problem = problemOf(error, request.id);
  if (problem.status >= 500) request.log.error({ code: problem.code, ...traceOf(error) }, "request-failed");
  const wait = secondsToWait(error, problem);
  if (wait !== undefined && !reply.hasHeader("retry-after")) reply.header("retry-after", wait);
  if (problem.code === "UNAUTHENTICATED") reply.header("www-authenticate", 'Bearer realm="loregraph"');
  return reply.code(problem.status).type(problemType).send(JSON.stringify(problem));
}

export const problemType = "application/problem+json";

function secondsToWait(error: unknown, { status }: Problem): number | undefined {
  const after = loregraphError(error)?.after;
  if (after) return Math.max(1, Math.ceil((after.getTime() - Date.now()) / 1_000));
  return status === 503 ? 5 : undefined;
}

function traceOf(error: unknown): { kind: string; at?: readonly string[] } {
  if (!(error instanceof Error)) return { kind: typeof error };
  const frames = error.stack?.split("\n").filter((line) => /^\s+at /.test(line)) ?? [];
  return { kind: error.name, at: frames.slice(0, 10).map((line) => line.trim()) };
}

/** The problem that an error means to who asked. What is not ours to tell becomes INTERNAL, without its message. */
export function problemOf(error: unknown, requestId: string): Problem {
  const { code, message, errors } = known(error);
  const { status, retry, solve } = errorCodes[code];
  const title = code.toLowerCase().replaceAll("_", " ");
  const problem = {
    type: `/docs/errors#${code}`,
    title,
    status,
    code,
    detail: message,
    solve,
    retry,
  };
  return { ...problem, instance: requestId, ...(errors === undefined ? {} : { errors }) };
}

type Known = {
  readonly code: ErrorCode;
  readonly message: string;
  readonly errors?: { path: string; message: string }[];
};

function known(error: unknown): Known {
  const ours = loregraphError(error);
  // Where our database is, and what it says, is nobody else's affair.
  if (ours?.code === "DATABASE_UNAVAILABLE" || (isConnectionError(error) && !isHttp(error)))
    return { code: "DATABASE_UNAVAILABLE", message: "the database is away" };
  if (ours) return ours;
  if (hasZodFastifySchemaValidationErrors(error)) return invalid(error);
  const code = codeOf(error);
  return code === "INTERNAL"
    ? { code, message: "something went wrong that is not the request's fault" }
    : { code, message: (error as Error).message };
}

/** How many mistakes are named, and how much of each: a body of 8 MiB can hold a hundred thousand. */
const mostErrors = 20;
const longestText = 500;

function invalid({ validation, validationContext }: FastifyError): Known {
  const errors = (validation ?? []).slice(0, mostErrors).map(({ instancePath, message = "is wrong" }) => ({
    path: `${validationContext ?? "request"}${instancePath}`.slice(0, longestText),
    message: message.slice(0, longestText),
  }));
  const message = errors.map((each) => `${each.path}: ${each.message}`).join("; ");
  return { code: "INPUT_INVALID", message: message.slice(0, 2_000), errors };
}

/** What fastify and its plugins refuse by themselves. */
const ofStatus: Readonly<Record<number, ErrorCode>> = {
  400: "INPUT_INVALID",
  413: "BODY_TOO_LARGE",
  415: "MEDIA_TYPE_UNSUPPORTED",
  429: "TOO_MANY_REQUESTS",
  503: "OVERLOADED",
};

/** Is it fastify's, or a plugin's? A client that hangs up in the middle breaks a connection, too. */
function isHttp(error: unknown): error is Error & { readonly statusCode: unknown } {
  return error instanceof Error && "statusCode" in error;
}

function codeOf(error: unknown): ErrorCode {
  if (!isHttp(error)) return "INTERNAL";
  const status = Number(error.statusCode);
  return ofStatus[status] ?? (status >= 400 && status < 500 ? "INPUT_INVALID" : "INTERNAL");
}

/** Throws NOT_FOUND where there is nothing. */
export function found<Value>(value: Value | undefined, what: string): Value {
  if (value !== undefined) return value;
  throw new LoregraphError("NOT_FOUND", `there is no ${what}`);
}
