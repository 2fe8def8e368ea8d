import type { ClaimedRun } from "./run.ts";
import type { Begin, Lane, Survey } from "./survey.ts";

/** What a claim is told: the known lanes in columns, the first lease, own turns, and how stale written ones may be. */
type Recalled = readonly [
  tenants: readonly string[],
  pipelines: readonly string[],
  priorities: readonly number[],
  reingests: readonly string[],
  from_after: readonly string[],
  from_id: readonly string[],
  leases_from: string,
  /** Own turns, as JSON: when, by tenant. */
  turns: string,
  turnsMs: number,
];

/** Of who knows nothing: everything is looked for, and each turn is written. */
export const nothingKnown: Recalled = [[], [], [], [], [], [], "-infinity", "{}", 0];

export type Claimed = Pick<ClaimedRun, "tenant_id" | "pipeline" | "priority" | "reingest_id"> & {
  /** When it was its tenant's turn; null for a delivery, which takes none. */
  readonly turn: string | null;
};

/** As a claim's statement has it. */
const noReingest = "00000000-0000-0000-0000-000000000000";

/** A lane is worth knowing once this many of its runs were claimed: each leaves an entry behind in the index. */
const worthKnowing = 16;

/** The most lanes that are known; beyond that, those that gave nothing for the longest time are looked for again. */
const mostLanes = 1_000;

/** How stale a tenant's turn may be for other processes, in milliseconds. This one knows its own. */
const turnsMs = 2_000;

type Known = { readonly lane: Lane; readonly claimed: number; readonly begin?: Begin };

/**
 * What a process remembers between its claims, so that they need not read what others left behind: while any session
 * holds an old snapshot, Postgres can clear away nothing of what was claimed since.
 */
export class ClaimMemory {
  /** The lanes that gave something; the one that did so the longest ago is the first. */
  readonly #lanes = new Map<string, Known>();
  /** When tenants had their turns lately, the one that had it the longest ago first. */
  readonly #turns = new Map<string, { readonly turn: string; readonly until: number }>();
  #leasesFrom = "-infinity";

  /** Is there a lane that is worth knowing? */
  get isWorthSurveying(): boolean {
    return [...this.#lanes.values()].some(({ claimed }) => claimed >= worthKnowing);
  }

  note(claimed: readonly Claimed[]): void {
    for (const run of claimed) this.#noteLane(run);
    const until = performance.now() + 2 * turnsMs;
    for (const { tenant_id, turn } of claimed) {
      if (turn === null) continue;
      this.#turns.delete(tenant_id);
      this.#turns.set(tenant_id, { turn, until });
    }
  }

  #noteLane({ tenant_id, pipeline, priority, reingest_id }: Claimed): void {
    const lane = { tenant_id, pipeline, priority, reingest: reingest_id ?? noReingest };
    const known = this.#lanes.get(keyOf(lane));
    this.#lanes.delete(keyOf(lane));
    this.#lanes.set(keyOf(lane), { ...known, lane, claimed: (known?.claimed ?? 0) + 1 });
    const [oldest] = this.#lanes.keys();
    if (this.#lanes.size > mostLanes && oldest !== undefined) this.#lanes.delete(oldest);
  }

  learn({ begins, latest, leases_from }: Survey): void {
    this.#leasesFrom = leases_from;
    const begun = new Map(begins.map((begin) => [keyOf(begin), begin]));
    for (const [key, known] of this.#lanes) {
      const begin = begun.get(key) ?? { ...known.lane, from_after: latest, from_id: noReingest };
      if (known.claimed >= worthKnowing) this.#lanes.set(key, { ...known, begin });
    }
  }

  /** The next claim finds all that is due, at whatever cost. */
  forget(): void {
    this.#lanes.clear();
    this.#leasesFrom = "-infinity";
  }

  recall(): Recalled {
    const begins = [...this.#lanes.values()].flatMap(({ begin }) => begin ?? []);
    for (const [tenant, { until }] of this.#turns) if (until < performance.now()) this.#turns.delete(tenant);
    return [
      begins.map((begin) => begin.tenant_id),
      begins.map((begin) => begin.pipeline),
      begins.map((begin) => begin.priority),
      begins.map((begin) => begin.reingest),
      begins.map((begin) => begin.from_after),
      begins.map((begin) => begin.from_id),
      this.#leasesFrom,
      JSON.stringify(Object.fromEntries([...this.#turns].map(([tenant, { turn }]) => [tenant, turn]))),
      turnsMs,
    ];
  }
}

const keyOf = ({ tenant_id, pipeline, priority, reingest }: Lane) =>
  `${tenant_id} ${priority} ${reingest} ${pipeline}`;
