import { onTestFinished } from "vitest";
import { openPool, type Pool } from "../../src/db.ts";
import type { TestDatabase } from "../support/database.ts";
import { forever } from "../support/runtime.ts";
import { type Boundary, wireTo } from "./wire.ts";

/** What goes on in one process, which may die: what its graphs did, and a moment from which they do nothing more. */
export class Life {
  readonly deeds: string[] = [];
  /** Stops its attempt. */
  readonly stop = new AbortController();
  /** Does what can fail in it fail? */
  readonly troubled: boolean;
  #over = false;

  constructor({ troubled = false } = {}) {
    this.troubled = troubled;
  }

  /** Notes a deed. In a process that has died, nothing is done and nobody goes on. */
  async do(deed: string): Promise<void> {
    if (this.#over) await forever();
    this.deeds.push(deed);
  }

  end(): void {
    this.#over = true;
  }
}

/** A process that dies at a boundary, or at none: all that it has of the database is this pool and this address. */
export async function mortal({ url, pool: observer }: TestDatabase, boundary?: Boundary) {
  const life = new Life({ troubled: true });
  const onDeath = () => {
    life.end();
    lendNoMore(pool);
  };
  const wire = await wireTo(url, { observer, boundary, onDeath });
  const pool = openPool(wire.url);
  let buried: Promise<void> | undefined;
  /** Takes away what is left of it: what a dead process still waits for then fails, and finds nothing to go on with. */
  const bury = () => {
    buried ??= (wire.isDead ? Promise.resolve() : pool.end()).then(() => wire.close());
    return buried;
  };
  onTestFinished(() => {
    wire.die(); // where the test failed in the middle of it
    return bury();
  });
  return { life, pool, url: wire.url, wire, bury };
}

export type Mortal = Awaited<ReturnType<typeof mortal>>;

function lendNoMore(pool: Pool): void {
  Object.assign(pool, { connect: forever });
}
