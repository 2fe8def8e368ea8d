import { z } from "zod";
import { type Db, execute, isConnectionError, many, openPool, type Pool } from "../db.ts";
import { errorCodes, LoregraphError, loregraphError, messageOf } from "../errors.ts";
import { pause } from "../pause.ts";
import type { EntitySource } from "../sources/entity-source.ts";
import type { Log } from "../telemetry/log.ts";
import { Holds } from "./hold.ts";
import { beginProducing, isFull, producePage, type Unproduced } from "./produce.ts";
import type { ReingestKey, Trouble } from "./reingest.ts";
import { type Scope, type ScopeContext, scopeOf } from "./scope.ts";
import { failReingest, keepLimits, settleReingests, sweepEnded } from "./settle.ts";

export type ProducerContext = ScopeContext & { readonly schema: string; readonly log: Log };

export type ProducerOptions = {
  readonly url: string;
  /** Where entities come from for the reingests that name the main service. */
  readonly mainService?: EntitySource | undefined;
  /** No page is made while so many runs of a reingest are pending. Defaults to 2,000. */
  readonly pendingBound?: number | undefined;
  /** The wait between two looks at the reingests, in milliseconds. Defaults to 500. */
  readonly pollMs?: number | undefined;
};

/** What is known of a reingest changes seldom in the time of so many pages. */
const pagesPerScope = 50;
/** How long its connections may be silent, in milliseconds: a page may take a while, but a stop waits for it. */
const silentMs = 30_000;
/** The longest wait for what failed to heal, in milliseconds. */
const longestWaitMs = 30_000;

/**
 * Produces the runs of reingests, keeps their limits, completes them, and sweeps up after those that were ended. One
 * runs in every worker process. It polls: what it waits for (room among the pending runs, a limit, an end) is made of
 * many small commits, of which telling each would cost every worker more than a look each half second costs one.
 */
export class Producer {
  readonly #context: ProducerContext;
  readonly #options: ProducerOptions;
  readonly #pollMs: number;
  readonly #bound: number;
  /** Its own, so that pages and attempts never wait for each other's connections. */
  readonly #pool: Pool;
  readonly #holds: Holds;
  readonly #stopping = new AbortController();
  readonly #turns = new Set<Promise<void>>();
  #loop: Promise<void> = Promise.resolve();

  constructor(context: ProducerContext, options: ProducerOptions) {
    const { url, pollMs = 500, pendingBound = 2_000 } = options;
    this.#context = context;
    this.#options = options;
    this.#pollMs = pollMs;
    this.#bound = pendingBound;
    this.#pool = openPool(url, { schema: context.schema, max: 2, name: "loregraph producer", silentMs });
    this.#holds = new Holds(url, context.schema);
  }

  start(): void {
    this.#loop = this.#keepLooking();
  }

  /** Ends after the pages that are being made. */
  async stop(): Promise<void> {
    if (this.#stopping.signal.aborted) return await this.#loop;
    this.#stopping.abort();
    this.#loop = this.#loop.then(() => this.#end());
    await this.#loop;
  }

  async #end(): Promise<void> {
    await Promise.all(this.#turns);
    await this.#holds.end();
    await this.#pool.end();
  }

  async #keepLooking(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#safely("reingests-produced", () => this.#look());
      await this.#safely("reingests-settled", () => settleReingests(this.#settling));
      await this.#safely("reingests-swept", () => sweepEnded(this.#pool));
      await pause(this.#pollMs, this.#stopping.signal);
    }
  }

  async #look(): Promise<void> {
    await this.#holds.renew();
    for (const key of await unproduced(this.#pool)) {
      const held = await this.#holds.take(key.id);
      if (held) this.#begin(key, AbortSignal.any([held, this.#stopping.signal]));
    }
  }

  #begin(key: ReingestKey, signal: AbortSignal): void {
    const turn = this.#safely("reingest-produced", () => this.#produce(key, signal))
      .then(() => this.#safely("reingest-freed", () => this.#holds.free(key.id)))
      .finally(() => this.#turns.delete(turn));
    this.#turns.add(turn);
  }

  /** Makes page after page; what fails is tried again, ever more seldom, unless it is hopeless. */
  async #produce(key: ReingestKey, signal: AbortSignal): Promise<void> {
    for (let tries = 0; !signal.aborted; ) {
      try {
        await this.#producePages(key, signal, () => {
          tries = 0;
        });
        return;
      } catch (error) {
        if (signal.aborted) return;
        const trouble = asLoregraphError(error);
        this.#context.log.warn({ reingest: key.id, code: trouble.code, tries }, "reingest-page-failed");
        if (!errorCodes[trouble.code].retry && trouble.code !== "INTERNAL")
          return await failReingest(this.#settling, key, trouble);
        await this.#wait(key, trouble, ++tries, signal);
      }
    }
  }

  async #producePages(key: ReingestKey, signal: AbortSignal, onPage: () => void): Promise<void> {
    let reingest = await beginProducing(this.#pool, key);
    let scope: Scope | undefined;
    for (let pages = 0; reingest && !signal.aborted; pages++) {
      if (await this.#mayGoOn(reingest)) {
        if (pages % pagesPerScope === 0 || !scope) scope = await this.#scopeOf(reingest);
        const page = await producePage(
          { ...this.#context, pool: this.#pool },
          reingest,
          scope,
          this.#source(reingest, signal),
        );
        if (page.kind === "stopped" || page.last) return;
        onPage();
        reingest = page.reingest;
      } else {
        await pause(this.#pollMs, signal);
      }
    }
  }

  async #mayGoOn(reingest: Unproduced): Promise<boolean> {
    return (
      !(await keepLimits(this.#settling, reingest)) && !(await isFull(this.#pool, reingest, this.#bound))
    );
  }

  async #scopeOf({ tenant_id, request, created_until }: Unproduced): Promise<Scope> {
    return await scopeOf(this.#pool, this.#context, tenant_id, request, created_until);
  }

  #source({ source }: Unproduced, signal: AbortSignal) {
    if (source === "local") return undefined;
    const { mainService } = this.#options;
    if (mainService) return { from: mainService, signal };
    throw new LoregraphError(
      "CONFIG_INVALID",
      "this reingest takes its entities from the main service, and LOREGRAPH_MAIN_SERVICE_URL names none",
    );
  }

  async #wait(key: ReingestKey, error: LoregraphError, tries: number, signal: AbortSignal): Promise<void> {
    const backoffMs = Math.min(longestWaitMs, this.#pollMs * 2 ** Math.min(tries, 20));
    const ms = Math.max(backoffMs, (error.after?.getTime() ?? 0) - Date.now());
    const { code, message } = error;
    const retry_at = new Date(Date.now() + ms).toISOString();
    await this.#safely("reingest-trouble-noted", () =>
      noteTrouble(this.#pool, key, { code, message: message.slice(0, 4_000), tries, retry_at }),
    );
    await pause(ms, signal);
  }

  get #settling() {
    return { pool: this.#pool, registry: this.#context.registry };
  }

  /** What fails here heals by itself or is seen in the log; the loop goes on. */
  async #safely(what: string, work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const kind = error instanceof Error ? error.name : typeof error;
      this.#context.log.error({ kind, away: isConnectionError(error) }, `${what}-failed`);
    }
  }
}

function asLoregraphError(error: unknown): LoregraphError {
  const known = loregraphError(error);
  if (known) return known;
  const code = isConnectionError(error) ? "DATABASE_UNAVAILABLE" : "INTERNAL";
  return new LoregraphError(code, messageOf(error), { cause: error });
}

const Key = z.object({ tenant_id: z.guid(), id: z.guid() });

async function unproduced(db: Db): Promise<readonly ReingestKey[]> {
  return await many(
    db,
    Key,
    `select tenant_id, id from reingests
     where status in ('planned', 'running') and produced_at is null
     order by created_at`,
  );
}

async function noteTrouble(db: Db, { tenant_id, id }: ReingestKey, trouble: Trouble): Promise<void> {
  await execute(
    db,
    `update reingests set cursor = coalesce(cursor, '{}') || jsonb_build_object('trouble', $3::jsonb)
     where tenant_id = $1 and id = $2 and status = 'running'`,
    [tenant_id, id, JSON.stringify(trouble)],
  );
}

/** Waits, but no longer than until the signal fires. */
