import { AsyncLocalStorageProviderSingleton } from "@langchain/core/singletons";
import { z } from "zod";
import { canonicalJson, sha256 } from "../hash.ts";
import type { ModelRequest } from "./layers.ts";

const Body = z.looseObject({ model: z.string() });

/** What a client is about to send, as layers read it. */
export function requestOf(
  input: Parameters<typeof fetch>[0],
  init: RequestInit | undefined,
  { asker, gate, fallbacks, hold }: Pick<ModelRequest, "asker" | "gate" | "fallbacks" | "hold">,
): ModelRequest {
  const body = Body.parse(JSON.parse(String(init?.body)));
  const url = input instanceof Request ? input.url : String(input);
  return {
    kind: new URL(url).pathname.endsWith("/embeddings") ? "embedding" : "chat",
    model: body.model,
    node: currentNode(),
    key: keyOf(body),
    url,
    headers: new Headers(init?.headers),
    body,
    signal: init?.signal ?? undefined,
    asker,
    gate,
    fallbacks,
    hold,
  };
}

/** The same question to another model of the same server. */
export function withModel(request: ModelRequest, model: string): ModelRequest {
  const body = { ...request.body, model };
  return { ...request, model, body, key: keyOf(body) };
}

/** SHA-256 of a request's body as canonical JSON: its fields in the order of their names, at every depth. */
export function keyOf(body: unknown): string {
  return sha256(canonicalJson(body));
}

const Running = z.object({ metadata: z.object({ langgraph_node: z.string() }) });

/** LangGraph runs each node in an async context that names it. */
function currentNode(): string | undefined {
  const config: unknown = AsyncLocalStorageProviderSingleton.getRunnableConfig();
  return Running.safeParse(config).data?.metadata.langgraph_node;
}
