import { LoregraphError } from "../errors.ts";
import type { App } from "./services.ts";

/** More than anybody needs in 8 MiB, and few enough to be looked at while others wait. */
const mostValues = 100_000;

/**
 * Bodies are JSON or nothing. An empty one is no body, whatever its type claims: many clients send the type with
 * every request. One that means to reach a prototype (`__proto__`) is refused, and so is one of more values than can
 * be checked at once: 8 MiB can hold four million.
 */
export function readJsonAlone(app: App): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>("application/json", { parseAs: "string" }, (request, body, done) => {
    if (body === "") return done(null, undefined);
    void parse(request, body, (error, value) => done(error ?? tooMany(value), value));
  });
}

function tooMany(body: unknown): LoregraphError | null {
  if (holdsAtMost(mostValues, body)) return null;
  return new LoregraphError("BODY_TOO_LARGE", `expected a body of at most ${mostValues} values`);
}

/** Without recursion: it may be nested as deeply as it is long. */
function holdsAtMost(most: number, body: unknown): boolean {
  const unseen = [body];
  for (let seen = 1; unseen.length > 0; seen++) {
    const value = unseen.pop();
    for (const inner of typeof value === "object" && value !== null ? Object.values(value) : [])
      unseen.push(inner);
    if (seen + unseen.length > most) return false;
  }
  return true;
}

/**
 * Refuses a body, or a query, where a route reads none: who sends one believes that it counts. An empty object says
 * nothing, and passes. Routes that are open to anyone take no notice of either.
 */
export function refuseStrays(app: App): void {
  app.addHook("preValidation", async ({ body, query, is404, routeOptions: { schema, config } }) => {
    if (is404 || config.scope === "open") return;
    if (schema?.body === undefined && !isEmpty(body)) throw stray("body");
    if (schema?.querystring === undefined && !isEmpty(query)) throw stray("querystring");
  });
}

function isEmpty(given: unknown): boolean {
  if (typeof given !== "object" || given === null) return given == null;
  return !Array.isArray(given) && Object.keys(given).length === 0;
}

function stray(where: "body" | "querystring"): LoregraphError {
  return new LoregraphError("INPUT_INVALID", `${where}: expected none, as this route reads none`);
}
