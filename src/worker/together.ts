import { isConnectionError, transactionOfOne } from "../db.ts";
import { beginStart, type Start, startAttempts } from "../ledger/start.ts";
import { type Asked as AskedSubject, beginRead, readSubjects, type Subject } from "../store/subjects.ts";
import type { Context } from "./context.ts";
import { answering, Gatherer, halving } from "./gatherer.ts";
import { commitTogether } from "./group.ts";
import type { Settled } from "./settled.ts";

/** What the attempts of one worker do together, so that one statement serves all that are due at a moment. */
export type Together = {
  readonly subjects: Gatherer<AskedSubject, Subject>;
  /** Answers whether the lease was held. */
  readonly starts: Gatherer<Start, boolean>;
  /** Answers whether the lease was held. */
  readonly endings: Gatherer<Settled, boolean>;
};

/** What every attempt of one worker shares. */
export type SharedContext = Context & { readonly together: Together };

/** How many attempts one statement serves, at most. */
const most = 100;

/** Two: while one group is on its way to the disk, the next one is written. */
const flights = 2;

/** What is stored by one transaction of several endings, in characters of JSON. */
const heaviest = 2_000_000;

export function shared(context: Context): SharedContext {
  const { pool } = context;
  const subjects = new Gatherer<AskedSubject, Subject>({
    most,
    flights,
    work: halving(
      answering((asked) => transactionOfOne(pool, (db) => readSubjects(db, asked), beginRead(asked.length))),
      isConnectionError,
    ),
  });
  const starts = new Gatherer<Start, boolean>({
    most,
    flights,
    work: halving(
      answering(async (asked) => {
        const held = await transactionOfOne(pool, (db) => startAttempts(db, asked), beginStart(asked.length));
        return asked.map(({ lease }) => held.has(lease.lease_token));
      }),
      isConnectionError,
    ),
  });
  const endings = new Gatherer<Settled, boolean>({
    most,
    flights,
    weigh: ({ weight }) => weight,
    heaviest,
    work: halving((asked) => commitTogether(context, asked), isConnectionError),
  });
  return { ...context, together: { subjects, starts, endings } };
}
