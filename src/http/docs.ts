import scalar from "@scalar/fastify-api-reference";
import type { onRequestHookHandler } from "fastify";
import { errorCodes, LoregraphError } from "../errors.ts";
import { describeRoutes } from "./openapi.ts";
import type { App } from "./services.ts";

/** `/docs`: every route that is added from here on, to be browsed without a key and without a request to another host. */
export async function addDocs(app: App): Promise<void> {
  await describeRoutes(app);
  await app.register(scalar, {
    routePrefix: "/docs",
    configuration: {
      pageTitle: "Loregraph",
      url: "./openapi.json",
      withDefaultFonts: false,
      telemetry: false,
      hideClientButton: true,
      agent: { disabled: true },
      mcp: { disabled: true },
    },
    hooks: { onRequest: asPage },
  });
  app.get("/docs/openapi.json", { config: { scope: "open" }, schema: { hide: true } }, () => app.swagger());
  app.get(
    "/docs/errors",
    { config: { scope: "open" }, schema: { hide: true }, onRequest: asPage },
    (_, reply) => reply.type("text/html; charset=utf-8").send(errorsPage()),
  );
}

/** These are the only pages: they may run what they bring with them, and ask nobody but us. */
const policy = [
  "default-src 'none'",
  "script-src 'self' 'unsafe-inline'",
  "style-src 'self' 'unsafe-inline'",
  "img-src 'self' data:",
  "font-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join(";");

const asPage: onRequestHookHandler = (request, reply, done) => {
  reply.header("content-security-policy", policy);
  // The page's own handler makes a URL of it.
  const named = URL.canParse(`http://${request.hostname}`);
  done(named ? undefined : new LoregraphError("INPUT_INVALID", "Host: expected the name of a host"));
};

/** The table of codes, for who follows a problem's `type`. It holds nothing but our own text. */
function errorsPage(): string {
  const rows = Object.entries(errorCodes).map(
    ([code, { status, retry, solve }]) =>
      `<tr id="${code}"><td>${code}<td>${status}<td>${retry ? "yes" : "no"}<td>${escaped(solve)}</tr>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Loregraph: errors</title>
<style>body { font: 16px/1.5 system-ui; margin: 2rem } td, th { padding: 0.2rem 1rem 0.2rem 0; text-align: left } :target { background: #fd8 }</style>
<h1>Errors</h1>
<table>
<tr><th>code<th>status<th>worth a retry<th>how to solve</tr>
${rows.join("\n")}
</table>
</html>
`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}
