import { randomUUID } from "node:crypto";
import { PostgresSaver } from "@langchain/langgraph-checkpoint-postgres";
import pLimit from "p-limit";
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import type { Pool } from "../../src/db.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import { enqueueRuns } from "../../src/ledger/enqueue.ts";
import { upsertEntities } from "../../src/store/entities.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import { shared } from "../../src/worker/together.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { only, request } from "../support/ledger.ts";
import { emptyLedger, forever, runtime } from "../support/runtime.ts";
import { formsOf, type Notes } from "./graphs.ts";
import { mortal } from "./mortal.ts";
import { reapNow, workOff } from "./recover.ts";
import { type Remains, remainsOf } from "./remains.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

const forms = Object.keys(formsOf({ began: async () => {}, answered: () => {} }));

/** When a process dies: while its nth node works, or once what that answered was saved. */
type Moment = { readonly when: "during" | "after"; readonly nth: number };

type Lived = {
  /** The nodes that began before the death and after it, in order. */
  readonly before: readonly string[];
  readonly after: readonly string[];
  /** Those whose answers were saved at the death. */
  readonly saved: readonly string[];
  readonly remains: Remains;
};

describe("a run that was cut off during and after each of its nodes ends as one that was not:", () => {
  test.each(forms)("%s", { timeout: 120_000 }, async (form) => {
    const calm = await live(form);
    const nodes = calm.before.length;
    const moments = calm.before.flatMap((_, nth): Moment[] => [
      { when: "during", nth },
      ...(nth < nodes - 1 ? [{ when: "after", nth } as const] : []),
    ]);
    const lived = await pLimit(6).map(moments, async (moment) => ({ moment, ...(await live(form, moment)) }));

    expect(nodes).toBeGreaterThan(1);
    for (const { moment, before, after, saved, remains } of lived) {
      const cut = `${moment.when} node ${moment.nth} of ${before.join(", ")}`;
      expect(remains, cut).toEqual(calm.remains);
      expect(
        after.filter((node) => saved.includes(node)),
        `${cut}: what was saved is not done again`,
      ).toEqual([]);
      expect(new Set([...saved, ...after]), `${cut}: the rest is`).toEqual(new Set(calm.before));
    }
    // Of as many moments after a node there was something saved.
    expect(lived.filter(({ saved }) => saved.length > 0).length).toBeGreaterThanOrEqual(nodes - 1);
  });
});

/** Lives through one run of a graph, cut off at a moment where there is one, and recovers. */
async function live(form: string, moment?: Moment): Promise<Lived> {
  const tenant_id = randomUUID();
  const mark = `-w${tenant_id.slice(0, 8)}`;
  const run = await claimed(tenant_id, `echo${mark}`);
  const process = await mortal(database);
  const before: string[] = [];
  /** Nothing begins any more once a death is near: it comes as soon as an answer was saved. */
  let dying: Promise<void> | undefined;
  const notes: Notes = {
    async began(node) {
      if (process.wire.isDead || dying) await forever();
      const nth = before.push(node) - 1;
      if (moment?.when !== "during" || moment.nth !== nth) return;
      process.wire.die();
      await forever();
    },
    answered(node) {
      if (moment?.when !== "after" || before[moment.nth] !== node) return;
      dying = savedOf(database.pool, run.id, node).then(() => process.wire.die());
    },
  };
  await Promise.race([
    runAttempt(shared(contextOf(process, form, mark, notes)), run, new AbortController()),
    process.wire.died,
  ]);
  await dying;
  expect(process.wire.isDead).toBe(moment !== undefined);
  if (process.wire.isDead) await process.wire.mourned();
  const saved = await savedOf(database.pool, run.id);
  const after: string[] = [];
  const noting: Notes = { began: async (node) => void after.push(node), answered: () => {} };
  await reapNow(database, tenant_id);
  await workOff(contextOf(database, form, mark, noting), tenant_id);
  await process.bury();
  return { before: [...before], after, saved, remains: await remainsOf(database.pool, tenant_id, mark) };
}

async function claimed(tenant_id: string, pipeline: string) {
  const entity = scene({ source_id: "00000000-0000-4000-8000-000000000001" });
  await upsertEntities(database.pool, tenant_id, "test", [entity]);
  const { source_type, source_id } = entity;
  await enqueueRuns(database.pool, [request({ tenant_id, pipeline, source_type, source_id })]);
  const options = { worker: "mortal", pipelines: [pipeline], limit: 1, leaseMs: 60_000 };
  return only(await claimRuns(database.pool, options));
}

function contextOf(process: TestDatabase, form: string, mark: string, notes: Notes) {
  const pipeline = formsOf(notes)[form];
  if (!pipeline) throw new Error(`there is no graph ${form}`);
  const name = `${pipeline.name}${mark}`;
  return { ...runtime(process), registry: new Map([[name, { ...pipeline, name }]]) };
}

/**
 * The nodes of a run whose answers were saved, as LangGraph's own saver reads them, in whatever graph within the graph;
 * with `node`, once that is among them.
 */
async function savedOf(pool: Pool, thread_id: string, node?: string): Promise<readonly string[]> {
  const saver = new PostgresSaver(pool, undefined, { schema: "loregraph" });
  return await vi.waitUntil(
    async () => {
      const saved = new Set<string>();
      for await (const { checkpoint, pendingWrites = [] } of saver.list({ configurable: { thread_id } })) {
        for (const name of pathIn(checkpoint.channel_values.path)) saved.add(name);
        for (const [, channel, value] of pendingWrites)
          if (channel === "path") pathIn(value).map((n) => saved.add(n));
      }
      return (node === undefined || saved.has(node)) && [...saved];
    },
    { timeout: 15_000, interval: 5 },
  );
}

function pathIn(value: unknown): readonly string[] {
  return Array.isArray(value) ? value.map(String) : [];
}
