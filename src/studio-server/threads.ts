import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import type { App } from "../http/services.ts";
import { listRunThreads } from "../ledger/threads.ts";
import type { ForkRuns } from "./fork-runs.ts";
import { pageHeaders } from "./page.ts";
import { viewForkRun, viewRun } from "./run-view.ts";
import type { StudioServices } from "./services.ts";
import { Checkpoint, Limit, Offset, OfThread, placeOf } from "./shapes.ts";
import { type Place, readHistory, readState } from "./state.ts";
import { findThread, type Thread, threadOf } from "./thread.ts";
import { statusesOf, ThreadStatus, viewThread } from "./thread-view.ts";

const Search = z.looseObject({
  /** Those of tenant, pipeline and entity are heeded; a thread has each of them in its metadata. */
  metadata: z
    .looseObject({
      tenant_id: z.guid().optional(),
      pipeline: z.string().max(100).optional(),
      graph_id: z.string().max(100).optional(),
      source_id: z.guid().optional(),
    })
    .nullish(),
  ids: z.array(z.guid()).max(1_000).nullish(),
  status: ThreadStatus.nullish(),
  limit: Limit,
  offset: Offset,
  select: z.array(z.string().max(100)).max(20).nullish(),
});
type Search = z.infer<typeof Search>;

const Subgraphs = z.looseObject({ subgraphs: z.stringbool().optional() });
const StateQuery = z.looseObject({ checkpoint: Checkpoint.nullish(), subgraphs: z.boolean().nullish() });

const History = z.looseObject({
  limit: Limit,
  before: z
    .union([z.string().max(100), z.looseObject({ configurable: Checkpoint.optional() }), Checkpoint])
    .nullish(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  checkpoint: Checkpoint.nullish(),
});

/** Runs as the threads of LangGraph's protocol: what they are about, their states, their history. */
export function threadRoutes(app: App, services: StudioServices, forkRuns?: ForkRuns): void {
  const read = async (thread_id: string, place: Place, subgraphs?: boolean | null) =>
    await readState(services, await findThread(services, thread_id), place, subgraphs ?? false);

  app.post("/threads/search", { schema: { body: Search } }, async ({ body }, reply) => {
    const found = await search(services, body);
    const page = found.slice(body.offset, body.offset + body.limit);
    reply.headers(pageHeaders(body, found.length));
    return await Promise.all(
      page.map(async (thread) => {
        const asked = body.select?.some((field) => field === "values" || field === "interrupts") ?? false;
        const viewed = viewThread(thread, asked ? await readState(services, thread) : undefined);
        return body.select ? picked(viewed, body.select) : viewed;
      }),
    );
  });

  app.get("/threads/:thread_id", { schema: { params: OfThread } }, async ({ params: { thread_id } }) => {
    const thread = await findThread(services, thread_id);
    return viewThread(thread, await readState(services, thread));
  });

  app.get(
    "/threads/:thread_id/state",
    { schema: { params: OfThread, querystring: Subgraphs } },
    async ({ params: { thread_id }, query: { subgraphs } }) => await read(thread_id, {}, subgraphs),
  );

  app.get(
    "/threads/:thread_id/state/:checkpoint_id",
    { schema: { params: OfThread.extend({ checkpoint_id: z.string() }), querystring: Subgraphs } },
    async ({ params: { thread_id, checkpoint_id }, query: { subgraphs } }) =>
      await read(thread_id, { checkpoint_id }, subgraphs),
  );

  app.post(
    "/threads/:thread_id/state/checkpoint",
    { schema: { params: OfThread, body: StateQuery } },
    async ({ params: { thread_id }, body }) => await read(thread_id, placeOf(body), body.subgraphs),
  );

  app.get("/threads/:thread_id/runs", { schema: { params: OfThread } }, async ({ params: { thread_id } }) => {
    const { run, fork } = await findThread(services, thread_id);
    return fork ? (forkRuns?.of(fork.id) ?? []).map(viewForkRun) : [viewRun(run)];
  });

  app.get(
    "/threads/:thread_id/runs/:run_id",
    { schema: { params: OfThread.extend({ run_id: z.guid() }) } },
    async ({ params: { thread_id, run_id } }) => {
      const { run, fork } = await findThread(services, thread_id);
      if (fork && forkRuns) return viewForkRun(forkRuns.find(fork.id, run_id));
      if (run.id === run_id) return viewRun(run);
      throw new LoregraphError("NOT_FOUND", `thread ${thread_id} has no run ${run_id}`);
    },
  );

  app.post(
    "/threads/:thread_id/history",
    { schema: { params: OfThread, body: History } },
    async ({ params: { thread_id }, body: { limit, before, metadata, checkpoint } }) =>
      await readHistory(services, await findThread(services, thread_id), placeOf({ checkpoint }), {
        limit,
        before: before === undefined || before === null ? undefined : placeBefore(before),
        filter: metadata ?? undefined,
      }),
  );
}

/** One more than the page holds, so that it is known whether there is a next one. */
async function search(services: StudioServices, asked: Search): Promise<readonly Thread[]> {
  const { reads, tenant_id } = services;
  const { metadata, ids, status, limit, offset } = asked;
  if (tenant_id !== undefined && (metadata?.tenant_id ?? tenant_id) !== tenant_id) return [];
  const runs = await listRunThreads(reads, {
    tenant_id: tenant_id ?? metadata?.tenant_id,
    pipeline: metadata?.pipeline ?? metadata?.graph_id,
    source_id: metadata?.source_id,
    statuses: status ? statusesOf(status) : undefined,
    ids: ids ?? undefined,
    limit: limit + offset + 1,
  });
  return runs.map((run) => threadOf(services, run));
}

function picked(thread: Readonly<Record<string, unknown>>, fields: readonly string[]) {
  return Object.fromEntries(Object.entries(thread).filter(([field]) => fields.includes(field)));
}

function placeBefore(before: NonNullable<z.infer<typeof History>["before"]>): Place {
  if (typeof before === "string") return { checkpoint_id: before };
  return "configurable" in before ? (before.configurable ?? {}) : (before as Place);
}
