import { z } from "zod";
import { type Db, execute, many, one } from "../../db.ts";

/** A model of a provider: what limits are about. */
export type Asked = { readonly provider: string; readonly model: string };

export type TurnsAsked = Asked & {
  /** Who asks, as an id that only it has. */
  readonly process: string;
  /** The tokens that each waiting call is thought to need, in the order in which they wait. */
  readonly wanted: readonly number[];
  /** Calls of this process under way, those among them whose turn was given but has not come. */
  readonly inFlight: number;
  /** What became of calls since the last time: answers, whatever they said; failures, and those of them by overload. */
  readonly answered: number;
  readonly failed: number;
  readonly overloaded: number;
  /** How many more tokens earlier calls needed than was thought. */
  readonly tokensMore: number;
  /** The pace that is allowed, a second. */
  readonly requests: number | undefined;
  readonly tokens: number | undefined;
  readonly concurrency: number | undefined;
  /** How far ahead turns are given, in milliseconds. */
  readonly horizonMs: number;
  /** How long a call may take that tries whether the provider answers again, in milliseconds. */
  readonly probeMs: number;
  /** What time it is. Defaults to the database's clock; tests have theirs. */
  readonly now?: Date | undefined;
};

const Turns = z.object({
  /** When calls may begin, in milliseconds from now: one for each that may, in their order. */
  turns_ms: z.array(z.number()),
  /** Why not all may: others' calls under way, the pace, a wait that the provider asked for, or an open breaker. */
  why: z.enum(["concurrency", "rate", "wait", "open"]).nullable(),
  /** When asking again may help, in milliseconds. */
  free_in_ms: z.number(),
  /** How long the provider asked to wait still, in milliseconds. */
  paused_ms: z.number(),
  /** Did what was told open the breaker? */
  opened: z.boolean(),
  /** Calls a second that all processes may begin; null where nothing is known to limit them. */
  pace: z.number().nullable(),
});
export type Turns = z.infer<typeof Turns>;

/** The calls that this process may begin within the horizon, and when. It tells what became of earlier ones, too. */
export async function takeTurns(db: Db, asked: TurnsAsked): Promise<Turns> {
  return await one(
    db,
    Turns,
    {
      name: "take-model-turns",
      text: `select turns_ms, why, free_in_ms, paused_ms, opened, pace
        from take_model_turns($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)`,
    },
    [
      ...[asked.provider, asked.model, asked.process, asked.wanted, asked.inFlight],
      ...[asked.answered, asked.failed, asked.overloaded, asked.tokensMore],
      ...[asked.requests, asked.tokens, asked.concurrency, asked.horizonMs, asked.probeMs, asked.now],
    ],
  );
}

export type Refusal = Asked & {
  /** How long ago the refused call began, in milliseconds. */
  readonly ageMs: number;
  /** In how many milliseconds the provider said to come back. */
  readonly waitMs: number;
  /** Does it tell of a rate? A spent quota does not. */
  readonly slows: boolean;
  readonly requests: number | undefined;
  readonly now?: Date | undefined;
};

/** From now on nobody asks this model before the wait is over, and all ask it slower than they did. */
export async function noteRefusal(db: Db, refusal: Refusal): Promise<void> {
  await execute(db, "select note_model_refusal($1, $2, $3, $4, $5, $6, $7)", [
    ...[refusal.provider, refusal.model, refusal.ageMs, refusal.waitMs, refusal.slows],
    ...[refusal.requests, refusal.now],
  ]);
}

/** A model as all processes see it, for people. */
export const ModelState = z.object({
  provider: z.string(),
  model: z.string(),
  /** `open`: it failed too often and is not asked. `paused`: it said to come back later. */
  state: z.enum(["open", "paused", "limited", "free"]),
  until: z.date().nullable(),
  /** Calls a minute; null where nothing is known to limit them. */
  calls_per_minute: z.number().nullable(),
  concurrency: z.number().nullable(),
  in_flight: z.coerce.number(),
  waiting: z.coerce.number(),
  turns: z.coerce.number(),
  refusals: z.coerce.number(),
});
export type ModelState = z.infer<typeof ModelState>;

/** The models that were asked within the last hour, or that are not asked because they fail. */
export async function listModelStates(db: Db): Promise<readonly ModelState[]> {
  return await many(
    db,
    ModelState,
    `select provider, model, turns, refusals, floor(concurrency) as concurrency,
       round((pace * 60)::numeric, 1)::float8 as calls_per_minute,
       case when open_until is not null then 'open' when not_before > now() then 'paused'
         when pace is not null then 'limited' else 'free' end as state,
       case when open_until is not null then open_until when not_before > now() then not_before end as until,
       coalesce((select sum(c.in_flight) from model_callers c where c.provider = m.provider and c.model = m.model
         and c.seen_at > now() - interval '5 seconds'), 0) as in_flight,
       coalesce((select sum(c.waiting) from model_callers c where c.provider = m.provider and c.model = m.model
         and c.seen_at > now() - interval '5 seconds'), 0) as waiting
     from model_limits m
     where asked_at > now() - interval '1 hour' or open_until is not null
     order by provider, model`,
  );
}
