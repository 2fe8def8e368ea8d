/** Enrichers that go on from what others have stored. */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { listRuns } from "../../src/ledger/read.ts";
import { previousOutput } from "../../src/store/enrichments.ts";
import type { Context } from "../../src/worker/context.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { echo } from "../support/pipelines.ts";
import { emptyLedger, runtime, startWorker, takeScene } from "../support/runtime.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await testDatabase();
});
afterEach(() => emptyLedger(database));

type Scene = Awaited<ReturnType<typeof takeScene>>;

/** `mood` says the first word of a text, and `arc` goes on from that. */
function chain(version = 1) {
  const arcs: string[] = [];
  const mood = echo(({ text }) => ({ said: text.split(" ")[0] }), { name: "mood", version });
  const arc = echo(
    async (_, __, { read }) => {
      const said = `arc of ${JSON.stringify(await read.enrichment("mood"))}`;
      arcs.push(said);
      return { said };
    },
    { name: "arc", trigger: { on: "mood.enriched" } },
  );
  return { arcs, context: runtime(database, mood, arc) };
}

async function work(context: Context): Promise<void> {
  await using worker = startWorker(context, database);
  await worker.untilDone();
}

async function change(context: Context, { tenant_id, ...scene }: Scene, text: string): Promise<void> {
  const entities = [{ ...scene, text }];
  await acceptEntities(context.pool, context.registry, { tenant_id, source: "test", entities });
}

const outcomes = async ({ pool }: Context, { source_id }: Scene, pipeline: string) =>
  (await listRuns(pool, { source_id, pipeline })).map(({ outcome }) => outcome).toReversed();

describe("an enricher that waits for another", () => {
  test("runs when that has stored its output, and reads it", async () => {
    const { context } = chain();
    const scene = await takeScene(context, { text: "calm at sea" });
    await work(context);

    expect(await previousOutput(context.pool, scene, "arc")).toEqual({ said: 'arc of {"said":"calm"}' });
    const [arc] = await listRuns(context.pool, { source_id: scene.source_id, pipeline: "arc" });
    const [mood] = await listRuns(context.pool, { source_id: scene.source_id, pipeline: "mood" });
    expect(arc?.parent_run_id).toBe(mood?.id);
  });

  test("runs again where what it went on from has changed", async () => {
    const { context, arcs } = chain();
    const scene = await takeScene(context, { text: "calm at sea" });
    await work(context);
    await change(context, scene, "storm at sea");
    await work(context);

    expect(arcs).toEqual(['arc of {"said":"calm"}', 'arc of {"said":"storm"}']);
    expect(await previousOutput(context.pool, scene, "arc")).toEqual({ said: arcs[1] });
  });

  test("calls nothing where that was made anew, and came out the same", async () => {
    const first = chain();
    const scene = await takeScene(first.context, { text: "calm at sea" });
    await work(first.context);
    const second = chain(2);
    await acceptEntities(second.context.pool, second.context.registry, {
      tenant_id: scene.tenant_id,
      source: "test",
      entities: [{ ...scene, metadata: { note: "read again" } }],
    });
    await work(second.context);

    expect(await outcomes(second.context, scene, "mood")).toEqual(["completed", "completed"]);
    expect(await outcomes(second.context, scene, "arc")).toEqual(["completed", "duplicate_skipped"]);
    expect(second.arcs).toEqual([]);
  });

  test("does not run where that found nothing changed", async () => {
    const { context } = chain();
    const scene = await takeScene(context, { text: "calm at sea" });
    await work(context);
    await acceptEntities(context.pool, context.registry, {
      tenant_id: scene.tenant_id,
      source: "test",
      entities: [{ ...scene, metadata: { note: "read again" } }],
    });
    await work(context);

    expect(await outcomes(context, scene, "mood")).toEqual(["completed", "duplicate_skipped"]);
    expect(await outcomes(context, scene, "arc")).toEqual(["completed"]);
  });
});
