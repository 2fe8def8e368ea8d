import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import fastify, { type FastifyReply, type FastifyRequest } from "fastify";
import { fastifyOpenapiGlue } from "fastify-openapi-glue";
import { onTestFinished } from "vitest";
import type { Draft } from "../../src/sources/draft.ts";
import type { SourceKey } from "../../src/sources/entity-source.ts";

/** Not a key: it stands where one would, so that tests can look for it in what is thrown. */
export const mainServiceKey = "key-that-must-stay-secret";

const contract = fileURLToPath(new URL("../../docs/main-service.openapi.json", import.meta.url));

/** How the double mistreats one request instead of answering it. */
export type Fault =
  | {
      readonly kind: "status";
      readonly status: number;
      readonly headers?: Record<string, string>;
      body?: string;
    }
  /** Answers these very bytes. */
  | { readonly kind: "bytes"; readonly bytes: string | Buffer; readonly headers?: Record<string, string> }
  /** Says nothing, for as long as it is asked; or begins to, and then says nothing more. */
  | { readonly kind: "silent"; readonly after?: string }
  /** Hangs up, in the middle of its answer where it has begun one. */
  | { readonly kind: "cut"; readonly after?: string };

type Change = { readonly tenant_id: string; readonly key: SourceKey };
type Asked = {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
  readonly key: string | undefined;
};

/**
 * A main service on loopback, made of its own contract: docs/main-service.openapi.json gives its routes and checks
 * every request and every answer. It ends with the test. What it is told in one test no other test sees.
 */
export async function startMainService() {
  const entities = new Map<string, Map<string, Draft>>();
  const changes: Change[] = [];
  const requests: Asked[] = [];
  const faults: Fault[] = [];
  const state = {
    forgotten: 0,
    alter: undefined as ((answer: Answer, path: string) => unknown) | undefined,
    before: undefined as ((path: string) => unknown) | undefined,
  };
  const of = (tenant_id: string) => entities.get(tenant_id) ?? new Map<string, Draft>();

  const serviceHandlers = {
    async listEntityIds({ params, query }: FastifyRequest) {
      const { tenant_id } = params as Params;
      const { type, cursor = "", limit } = query as { type?: string; cursor?: string; limit: number };
      const after = [...of(tenant_id)]
        .filter(([name, { source_type }]) => name > cursor && (type === undefined || source_type === type))
        .toSorted(([one], [other]) => (one < other ? -1 : 1));
      const page = after.slice(0, limit);
      return {
        items: page.map(([, draft]) => keyOf(draft)),
        next: after.length > limit ? page.at(-1)?.[0] : null,
      };
    },

    async fetchEntities({ params, body }: FastifyRequest) {
      const { tenant_id } = params as Params;
      const { keys } = body as { keys: readonly SourceKey[] };
      const found = keys.map((key) => of(tenant_id).get(nameOf(key)));
      return {
        entities: found.flatMap((draft) => (draft ? [{ tenant_id, ...draft }] : [])),
        missing: keys.filter((_, at) => found[at] === undefined),
      };
    },

    async listChanges({ params, query }: FastifyRequest, reply: FastifyReply) {
      const { tenant_id } = params as Params;
      const { since, limit } = query as { since?: string; limit: number };
      const from = since === undefined ? changes.length : Number(/^change-(\d+)$/.exec(since)?.[1] ?? -1);
      if (from < state.forgotten) return problem(reply, 410, "That is not kept any more");
      const after = [...changes.entries()].filter(
        ([at, change]) => at >= from && change.tenant_id === tenant_id,
      );
      const page = after.slice(0, limit);
      const more = after.length > limit;
      const end = more ? (page.at(-1)?.[0] ?? 0) + 1 : changes.length;
      return { changes: page.map(([, { key }]) => key), cursor: `change-${end}`, more };
    },
  };

  const app = fastify({
    ajv: { customOptions: { coerceTypes: false, removeAdditional: false, useDefaults: false } },
    routerOptions: { querystringParser: readQuery },
  });
  app.addHook("onRequest", async (request, reply) => {
    await state.before?.(request.url);
    const fault = faults.shift();
    if (fault) await mistreat(fault, reply);
  });
  app.addHook("preValidation", async ({ method, url, body, headers: { authorization } }) => {
    requests.push({ method, url, body, key: authorization });
  });
  app.addHook("preSerialization", async (request, reply, answer) => {
    assertKept(request, reply, answer);
    return answer;
  });
  app.addHook("onSend", async (request, reply, sent) => {
    if (reply.statusCode !== 200 || !state.alter) return sent;
    return JSON.stringify(state.alter(JSON.parse(String(sent)), request.url));
  });
  app.setErrorHandler((error: { statusCode?: number; message: string }, _, reply) =>
    problem(reply, error.statusCode ?? 500, error.message),
  );
  const securityHandlers = {
    async bearer({ headers }: FastifyRequest) {
      if (headers.authorization !== `Bearer ${mainServiceKey}`)
        throw Object.assign(new Error(), { statusCode: 401 });
    },
  };
  await app.register(fastifyOpenapiGlue, { specification: contract, serviceHandlers, securityHandlers });
  const url = await app.listen({ port: 0, host: "127.0.0.1" });
  onTestFinished(async () => {
    app.server.closeAllConnections();
    await app.close();
  });

  return {
    url,
    key: mainServiceKey,
    /** What it was asked, in order, without what faults befell. */
    requests,
    app,

    /** Makes or changes an entity. */
    put(tenant_id: string, given: Partial<Draft> = {}): Draft {
      const draft: Draft = {
        source_type: "scene",
        source_id: randomUUID(),
        title: "The weir",
        text: "It rained.",
        metadata: {},
        ...given,
      };
      entities.set(tenant_id, of(tenant_id).set(nameOf(draft), draft));
      changes.push({ tenant_id, key: keyOf(draft) });
      return draft;
    },
    remove(tenant_id: string, key: SourceKey): void {
      of(tenant_id).delete(nameOf(key));
      changes.push({ tenant_id, key: keyOf(key) });
    },
    /** What it has of a tenant, by type and id. */
    entitiesOf(tenant_id: string): readonly Draft[] {
      return [...of(tenant_id)]
        .toSorted(([one], [other]) => (one < other ? -1 : 1))
        .map(([, draft]) => draft);
    },
    /** Does something of which no change tells. */
    silently(what: () => void): void {
      const before = changes.length;
      what();
      changes.length = before;
    },
    /** Forgets all changes so far: cursors of before are answered 410. */
    forget(): void {
      state.forgotten = changes.length;
    },
    /** Mistreats the next requests, one fault each. */
    fail(...next: readonly Fault[]): void {
      faults.push(...next);
    },
    /** Changes each answer on its way out, after it was checked. */
    alter(how: (answer: Answer, path: string) => unknown): void {
      state.alter = how;
    },
    /** Does something before each request is looked at. */
    before(what: (path: string) => unknown): void {
      state.before = what;
    },
  };
}

export type MainServiceDouble = Awaited<ReturnType<typeof startMainService>>;

// biome-ignore lint/suspicious/noExplicitAny: tests break answers in every way there is
type Answer = any;
type Params = { readonly tenant_id: string };

function keyOf({ source_type, source_id }: SourceKey): SourceKey {
  return { source_type, source_id };
}

function nameOf({ source_type, source_id }: SourceKey): string {
  return `${source_type} ${source_id}`;
}

/** The one number that a query of the contract holds, as a number. */
function readQuery(text: string): Record<string, string | number> {
  const entries = [...new URLSearchParams(text)];
  return Object.fromEntries(entries.map(([name, value]) => [name, name === "limit" ? Number(value) : value]));
}

function problem(reply: FastifyReply, status: number, title: string) {
  return reply.code(status).type("application/problem+json").send({ title, status });
}

/** The double keeps the contract too: else tests would prove the client against something else. */
function assertKept(request: FastifyRequest, reply: FastifyReply, answer: unknown): void {
  const { response = {} } = (request.routeOptions.schema ?? {}) as { response?: Record<string, Response> };
  const [content] = Object.values((response[reply.statusCode] ?? response.default)?.content ?? {});
  if (!content) throw new Error(`the contract has no answer ${reply.statusCode} to ${request.url}`);
  const check = request.compileValidationSchema(content.schema);
  if (!check(answer)) throw new Error(`the double broke the contract: ${JSON.stringify(check.errors)}`);
}

type Response = { readonly content?: Record<string, { readonly schema: Record<string, unknown> }> };

async function mistreat(fault: Fault, reply: FastifyReply): Promise<void> {
  if (fault.kind === "status") {
    const body = fault.body ?? JSON.stringify({ title: "Not now", status: fault.status });
    await reply
      .code(fault.status)
      .headers({ "content-type": "application/problem+json", ...fault.headers })
      .send(body);
    return;
  }
  reply.hijack();
  if (fault.kind === "bytes") return void reply.raw.writeHead(200, fault.headers).end(fault.bytes);
  if (fault.after !== undefined) {
    reply.raw.writeHead(200, { "content-length": fault.after.length + 1 });
    await new Promise((written) => reply.raw.write(fault.after, written));
  }
  if (fault.kind === "cut") reply.raw.destroy();
}
