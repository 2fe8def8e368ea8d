import type { App } from "./services.ts";

/**
 * Bodies are JSON or nothing. An empty one is no body, whatever its type claims: many clients send the type with
 * every request. One that means to reach a prototype (`__proto__`) is refused.
 */
export function readJsonAlone(app: App): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>("application/json", { parseAs: "string" }, (request, body, done) =>
    body === "" ? done(null, undefined) : parse(request, body, done),
  );
}
