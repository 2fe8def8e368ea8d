import { openPool, type Pool, transaction } from "../db.ts";
import { wakeWorkers } from "../ledger/enqueue.ts";
import { renewLeases } from "../ledger/lease.ts";
import { reapExpired } from "../ledger/reap.ts";
import { releaseRuns } from "../ledger/release.ts";
import { forgetWorker, noteWorker, type WorkerNote } from "../ledger/workers.ts";
import type { Log } from "../telemetry/log.ts";
import { keepDoing, safely } from "./loop.ts";
import type { Slots } from "./slots.ts";

export type Beating = {
  readonly url: string;
  readonly schema: string;
  readonly log: Log;
  readonly note: WorkerNote;
  readonly slots: Slots;
  /** How long an unrenewed lease holds, in milliseconds. */
  readonly leaseMs: number;
};

/** What a busy machine may take to answer, in milliseconds: less would be taken for a network that is dead. */
const shortestSilenceMs = 2_000;

/**
 * Keeps the leases of one worker alive and takes back those of dead ones. It has a connection of its own: attempts
 * that wait for one of the shared pool, however long, cost nobody a lease.
 */
export class Heartbeat {
  readonly #beating: Beating;
  readonly #pool: Pool;

  constructor(beating: Beating) {
    const { url, schema, leaseMs } = beating;
    this.#beating = beating;
    // Where it hears nothing for half of a lease, the other half is for a new connection.
    const silentMs = Math.max(leaseMs / 2, shortestSilenceMs);
    this.#pool = openPool(url, { schema, max: 1, name: "loregraph heartbeat", silentMs });
  }

  async keepRenewing(signal: AbortSignal): Promise<void> {
    const { log, leaseMs } = this.#beating;
    await keepDoing({ what: "leases-renewed", everyMs: leaseMs / 4, log, signal }, () => this.#renew());
  }

  async keepReaping(signal: AbortSignal): Promise<void> {
    const { log, leaseMs } = this.#beating;
    await keepDoing({ what: "expired-reaped", everyMs: leaseMs / 2, log, signal }, () => this.#reap());
  }

  /** Gives back what goes on still, which costs it no attempt. */
  async releaseLeases(): Promise<void> {
    const { log, slots } = this.#beating;
    if (slots.empty) return;
    await safely(log, "leftovers-released", async () => {
      await releaseRuns(this.#pool, slots.leases());
      await wakeWorkers(this.#pool);
    });
  }

  /** Takes leave and ends the connection. */
  async end(): Promise<void> {
    const { log, note } = this.#beating;
    await safely(log, "worker-forgotten", () => forgetWorker(this.#pool, note.worker));
    await this.#pool.end();
  }

  /** An attempt whose lease is gone, or that shall be cancelled, is stopped. */
  async #renew(): Promise<void> {
    const { slots, leaseMs } = this.#beating;
    const leases = slots.leases();
    const asked = new Set(leases.map(({ lease_token }) => lease_token));
    const sentAt = performance.now();
    const held = await renewLeases(this.#pool, leases, leaseMs);
    const kept = new Set(held.map(({ lease_token }) => lease_token));
    const cancelled = new Set(held.filter((l) => l.cancel_requested).map((l) => l.lease_token));
    slots.renew(new Set(held.filter((l) => l.is_renewed).map((l) => l.lease_token)), sentAt);
    slots.stop("lease lost", ({ lease_token }) => asked.has(lease_token) && !kept.has(lease_token));
    slots.stop("cancelled", ({ lease_token }) => cancelled.has(lease_token));
  }

  async #reap(): Promise<void> {
    const { note, log } = this.#beating;
    await noteWorker(this.#pool, note);
    const reaped = await transaction(this.#pool, async (db) => {
      // It may have to wait for who makes a run of the same key pending; a renewal must not wait with it.
      await db.query(`set local lock_timeout = ${Math.ceil(this.#beating.leaseMs / 4)}`);
      return await reapExpired(db);
    });
    if (reaped.length === 0) return;
    log.warn({ runs: reaped.map(({ id }) => id) }, "leases-expired");
    await wakeWorkers(this.#pool);
  }
}
