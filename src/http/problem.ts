import type { FastifyError } from "fastify";
import { hasZodFastifySchemaValidationErrors } from "fastify-type-provider-zod";
import { z } from "zod";
import { isConnectionError } from "../db.ts";
import { type ErrorCode, errorCodes, LoregraphError, loregraphError } from "../errors.ts";

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
    errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  })
  .meta({ id: "Problem" });
export type Problem = z.infer<typeof Problem>;

/** The problem that an error means to who asked. What is not ours to tell becomes INTERNAL, without its message. */
export function problemOf(error: unknown, requestId: string): Problem {
  const { code, message, errors } = known(error);
  const { status, retry, solve } = errorCodes[code];
  const title = code.toLowerCase().replaceAll("_", " ");
  const problem = {
    type: `/errors#${code.toLowerCase()}`,
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
  if (ours) return ours;
  if (hasZodFastifySchemaValidationErrors(error)) return invalid(error);
  if (isConnectionError(error)) return { code: "DATABASE_UNAVAILABLE", message: "the database is away" };
  const code = codeOf(error);
  return code === "INTERNAL"
    ? { code, message: "something went wrong that is not the request's fault" }
    : { code, message: (error as Error).message };
}

function invalid({ validation, validationContext }: FastifyError): Known {
  const errors = (validation ?? []).map(({ instancePath, message = "is wrong" }) => ({
    path: `${validationContext ?? "request"}${instancePath}`,
    message,
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

function codeOf(error: unknown): ErrorCode {
  if (!(error instanceof Error) || !("statusCode" in error)) return "INTERNAL";
  return ofStatus[Number(error.statusCode)] ?? "INTERNAL";
}

/** Throws NOT_FOUND where there is nothing. */
export function found<Value>(value: Value | undefined, what: string): Value {
  if (value !== undefined) return value;
  throw new LoregraphError("NOT_FOUND", `there is no ${what}`);
}
