import { randomUUID } from "node:crypto";
import pLimit from "p-limit";
import { expect } from "vitest";
import { z } from "zod";
import { type Db, many } from "../../src/db.ts";
import { Status } from "../../src/ledger/states.ts";
import type { Pipeline } from "../../src/pipeline.ts";
import type { EntitySource } from "../../src/sources/entity-source.ts";
import type { Context } from "../../src/worker/context.ts";
import type { TestDatabase } from "../support/database.ts";
import { runtime } from "../support/runtime.ts";
import { Life, type Mortal, mortal } from "./mortal.ts";
import { reapNow, workOff } from "./recover.ts";
import { type Remains, remainsOf } from "./remains.ts";
import type { Boundary, Sent } from "./wire.ts";

/** A process that acts: one that may die, or a healthy one. */
export type Process = Pick<Mortal, "pool" | "url" | "life"> & {
  readonly context: Context;
  /** The name of a pipeline in its world: of one that no other world's processes run. */
  readonly named: (pipeline: string) => string;
};

/** A tenant of its own in which a procedure is lived through, and a process that does not die. */
export type World = { readonly tenant_id: string; readonly healthy: Process };

/** What a process does that may die at any statement of it. */
export type Procedure = {
  /** The pipelines of a process. */
  readonly pipelines: (life: Life) => readonly Pipeline[];
  /** Makes what the procedure is about. @returns the procedure. */
  readonly prepare: (world: World) => Promise<(process: Process) => Promise<unknown>>;
  /** The service that its reingests take their entities from. */
  readonly source?: EntitySource;
  /** Does whoever asked for it ask again where it heard nothing? Else only workers and producers go on. */
  readonly again?: boolean;
  /** Is it to die only after each statement that was committed? Between two of these, nothing comes to be. */
  readonly afterCommits?: boolean;
  /** Is it about whatever there is in the database, so that only one world can be lived in at a time? */
  readonly alone?: boolean;
};

/** Worlds at a time: most of each is waiting for an answer. */
const worlds = 6;

/**
 * Lives through a procedure undisturbed, then dies once before each of its statements, and once after each that was
 * committed and not answered, each time in a world of its own; a healthy process then recovers. Whatever happened, the
 * same remains.
 *
 * @returns what it sent undisturbed, and how often it died.
 */
export async function dieAtEach(database: TestDatabase, procedure: Procedure) {
  const calm = await live(database, procedure);
  const die = async (boundary: Boundary) => {
    const { died, sent, remains } = await live(database, procedure, boundary);
    expect(remains, `${boundary.kind} statement ${boundary.nth}: ${sent.at(-1)?.text}`).toEqual(calm.remains);
    return died;
  };
  const inTurn = pLimit(procedure.alone ? 1 : worlds);
  const boundaries = boundariesOf(calm.sent).filter(
    ({ kind }) => kind === "unanswered" || !procedure.afterCommits,
  );
  const deaths = await inTurn.map(boundaries, die);
  // Where it sends more this time than it did undisturbed, there are more boundaries: until it survives one.
  let nth = calm.sent.length + 1;
  while (await die({ kind: "before", nth })) nth++;
  return { sent: calm.sent, deaths: deaths.filter(Boolean).length + nth - 1 - calm.sent.length };
}

/** Where nothing was committed, to lose the answer is to die before the next statement. */
function boundariesOf(sent: readonly Sent[]): readonly Boundary[] {
  return sent.flatMap(({ committed }, index) => [
    { kind: "before", nth: index + 1 } as const,
    ...(committed ? [{ kind: "unanswered", nth: index + 1 } as const] : []),
  ]);
}

type Lived = { readonly died: boolean; readonly sent: readonly Sent[]; readonly remains: Remains };

/** Lives through a procedure once, and recovers from it. */
async function live(database: TestDatabase, procedure: Procedure, boundary?: Boundary): Promise<Lived> {
  const tenant_id = randomUUID();
  const mark = `-w${tenant_id.slice(0, 8)}`;
  const healthy = processOf(procedure, mark, { ...database, life: new Life() });
  const act = await procedure.prepare({ tenant_id, healthy });
  const before = await attemptsOf(database.pool, tenant_id);
  const process = await mortal(database, boundary);
  await Promise.race([act(processOf(procedure, mark, process)), process.wire.died]);
  if (process.wire.isDead) await process.wire.mourned();
  const atDeath = await attemptsOf(database.pool, tenant_id);
  await reapNow(healthy.context, tenant_id);
  const reaped = await attemptsOf(database.pool, tenant_id);
  assertFairlyCounted({ before, atDeath, reaped });
  assertStartsNoted(process.life.deeds.map(healthy.named), { before, atDeath });
  if (process.wire.isDead && procedure.again) await act(healthy);
  await workOff(healthy.context, tenant_id, procedure.source);
  await process.bury();
  const remains = await remainsOf(database.pool, tenant_id, mark);
  return { died: process.wire.isDead, sent: process.wire.sent, remains };
}

function processOf(
  { pipelines }: Procedure,
  mark: string,
  process: Pick<Mortal, "pool" | "url" | "life">,
): Process {
  const named = (pipeline: string) => `${pipeline}${mark}`;
  const own = pipelines(process.life).map((pipeline) => ({ ...pipeline, name: named(pipeline.name) }));
  const registry = new Map(own.map((pipeline) => [pipeline.name, pipeline]));
  return { ...process, context: { ...runtime(process), registry }, named };
}

const Attempts = z.object({
  id: z.guid(),
  pipeline: z.string(),
  status: Status,
  attempt: z.int(),
  started: z.boolean(),
});
type Attempts = z.infer<typeof Attempts>;

async function attemptsOf(db: Db, tenant_id: string): Promise<ReadonlyMap<string, Attempts>> {
  const rows = await many(
    db,
    Attempts,
    `select id, pipeline, status, attempt, graph_started_at is not null as started
     from pipeline_runs where tenant_id = $1`,
    [tenant_id],
  );
  return new Map(rows.map((row) => [row.id, row]));
}

type Counted = ReadonlyMap<string, Attempts>;

/** A death costs an attempt where the graph had started, and none where it had not. */
function assertFairlyCounted({ before, atDeath, reaped }: Readonly<Record<string, Counted>>): void {
  for (const { id, status, attempt, started } of atDeath?.values() ?? []) {
    const [was, after] = [before?.get(id), reaped?.get(id)];
    const counted = status === "running" ? (was?.attempt ?? 0) + Number(started && !was?.started) : attempt;
    expect(attempt).toBe(counted);
    expect(after?.attempt).toBe(attempt);
    expect(after?.status).not.toBe("running");
  }
}

/** No graph did anything before its attempt was counted. */
function assertStartsNoted(deeds: readonly string[], counts: { before: Counted; atDeath: Counted }): void {
  const { before, atDeath } = counts;
  const noted = [...atDeath.values()].filter(
    ({ id, status, started }) => started || (before.get(id)?.status === "running" && status !== "running"),
  );
  for (const pipeline of new Set([...atDeath.values()].map((run) => run.pipeline))) {
    const began = deeds.filter((deed) => deed === pipeline).length;
    expect(began).toBeLessThanOrEqual(noted.filter((run) => run.pipeline === pipeline).length);
  }
}
