import { beforeAll, expect, test } from "vitest";
import { acceptEntities } from "../../src/intake.ts";
import { claimRuns } from "../../src/ledger/claim.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import { loadRegistry } from "../../src/registry.ts";
import type { NewEntity } from "../../src/store/entities.ts";
import { runAttempt } from "../../src/worker/attempt.ts";
import { shared } from "../../src/worker/together.ts";
import { scene } from "../support/content.ts";
import { type TestDatabase, testDatabase } from "../support/database.ts";
import { dieAtEach, type Procedure, type Process } from "./crash.ts";
import { workOff } from "./recover.ts";

let database: TestDatabase;
let shipped: readonly Pipeline[];
beforeAll(async () => {
  database = await testDatabase();
  shipped = [...(await loadRegistry()).values()];
});

const quarrel = scene({
  source_id: "00000000-0000-4000-8000-000000000001",
  text: "“I hate you,” Mara shouted, and slammed the door. Mara was brave and stubborn. “Go away!” she said.",
});

const mara: NewEntity = {
  source_type: "character",
  source_id: "00000000-0000-4000-8000-000000000002",
  title: "Mara",
  text: "Mara is brave, stubborn and kind to dogs.",
  metadata: {},
};

async function takeIn({ pool, context }: Process, tenant_id: string, entity: NewEntity): Promise<void> {
  await acceptEntities(pool, context.registry, { tenant_id, source: "test", entities: [entity] });
}

async function attemptAll(process: Process, pipeline: string): Promise<number> {
  const pipelines = [process.named(pipeline)];
  const options = { worker: "mortal", pipelines, limit: 100, leaseMs: 60_000 };
  const runs = await claimRuns(process.pool, options);
  for (const run of runs) await runAttempt(shared(process.context), run, new AbortController());
  return runs.length;
}

/** What one pipeline has to do because of a scene that speaks of a character who is known already. */
function workOf(name: string): Procedure {
  return {
    pipelines: () => shipped,
    afterCommits: true,
    async prepare({ healthy, tenant_id }) {
      await takeIn(healthy, tenant_id, mara);
      await workOff(healthy.context, tenant_id);
      await takeIn(healthy, tenant_id, quarrel);
      if (name !== "base") await attemptAll(healthy, "base");
      return async (process) => await attemptAll(process, name);
    },
  };
}

test.each(["base", "dialog-mood", "character-traits"])(
  "what %s was doing when its process died is done as if it had not",
  { timeout: 120_000 },
  async (name) => {
    const { sent, deaths } = await dieAtEach(database, workOf(name));

    expect(sent.length).toBeGreaterThan(0);
    expect(deaths).toBeGreaterThan(1);
    console.info(`${name}: ${sent.length} statements, ${deaths} deaths`);
  },
);
