import type { Status } from "../../src/ledger/states.ts";

/**
 * A reference model of the ledger: what it promises, over plain data, without how it keeps that. It does not say which
 * of several runs a claim takes, but which it may take; so what really came of a deed is told to it, and it throws
 * where it cannot explain that.
 */
export type Model = {
  readonly keys: readonly ModelKey[];
  readonly runs: Record<string, ModelRun>;
  /** By tenant, as its place in `keys` names it. */
  readonly tenants: Record<string, Control & { weight: number }>;
  readonly pipelines: Record<string, Control>;
  /** By tenant: is its reingest paused? */
  readonly reingests: Record<string, boolean>;
  /** Counts the endings of attempts, in order. */
  clock: number;
};

export type ModelKey = { readonly tenant: string; readonly pipeline: string };
type Control = { paused: boolean; cap: number | null };

export type ModelRun = {
  readonly key: number;
  version: number;
  priority: number;
  /** Is it a part of its tenant's reingest? */
  bulk: boolean;
  status: Status;
  attempt: number;
  started: boolean;
  cancelAsked: boolean;
  /** Has its lease run out, and nobody taken it back yet? */
  expired: boolean;
  due: boolean;
  token: string | null;
  /** Which of all endings was its own, where it has ended. */
  ended: number;
};

export const maxAttempts = 2;

export function newModel(keys: readonly ModelKey[]): Model {
  const all = <Value>(names: readonly string[], value: () => Value) =>
    Object.fromEntries(names.map((name) => [name, value()]));
  const tenants = keys.map(({ tenant }) => tenant);
  return {
    keys,
    runs: {},
    tenants: all(tenants, () => ({ paused: false, cap: null, weight: 1 })),
    pipelines: all(
      keys.map(({ pipeline }) => pipeline),
      () => ({ paused: false, cap: null }),
    ),
    reingests: all(tenants, () => false),
    clock: 0,
  };
}

/** What the model cannot explain. */
class Unexplained extends Error {}

export function explained(fact: boolean, claim: string): void {
  if (!fact) throw new Unexplained(`the model does not explain that ${claim}`);
}

export type Wanted = {
  readonly key: number;
  readonly version: number;
  readonly priority: number;
  readonly bulk: boolean;
};

/** A wanted run is new, or is taken over by the pending one of its key. */
export function enqueue(model: Model, wanted: Wanted, { id, is_new }: { id: string; is_new: boolean }): void {
  const pending = pendingOf(model, wanted.key);
  explained(is_new === (pending === undefined), `a run was ${is_new ? "" : "not "}new`);
  if (!pending) {
    model.runs[id] = fresh(wanted);
    return;
  }
  explained(model.runs[id] === pending, "another run than the pending one took over what was wanted");
  pending.priority = Math.max(pending.priority, wanted.priority);
  pending.bulk &&= wanted.bulk;
  if (wanted.version > pending.version)
    Object.assign(pending, { version: wanted.version, attempt: 0, due: true });
}

function fresh(wanted: Wanted): ModelRun {
  const unheld = { started: false, cancelAsked: false, expired: false, token: null };
  return { ...wanted, ...unheld, status: "pending", attempt: 0, due: true, ended: 0 };
}

export type Claim = {
  readonly limit: number;
  readonly bulk: number;
  /** Did others act meanwhile? What they had locked is passed over, so it may have taken less than it could. */
  readonly crowded: boolean;
};
export type Claimed = { readonly id: string; readonly lease_token: string };

export function claim(model: Model, { limit, bulk, crowded }: Claim, claims: readonly Claimed[]): void {
  const before = structuredClone(model);
  explained(claims.length <= limit, "more was claimed than was asked for");
  for (const { id, lease_token } of claims) {
    const run = model.runs[id];
    explained(run !== undefined && mayStart(model, run), `run ${id} was claimed`);
    if (run) Object.assign(run, { status: "running", token: lease_token });
  }
  const taken = claims.flatMap(({ id }) => before.runs[id] ?? []);
  const bulkLeft = bulk - taken.filter((run) => run.bulk).length;
  explained(bulkLeft >= 0, "more parts of reingests were claimed than may be");
  if (crowded) return;
  const left = Object.values(model.runs).filter((run) => mayStart(model, run) && (!run.bulk || bulkLeft > 0));
  explained(claims.length === limit || left.length === 0, "a slot stayed free while there was work for it");
  for (const run of taken) explained(!left.some(comesBefore(model, run)), "a lower priority came first");
  if (limit === 1 && taken[0]) assertFair(before, taken[0], bulk);
}

/** Within one tenant, pipeline and reingest, or none, the higher priority comes first. */
function comesBefore(model: Model, run: ModelRun): (other: ModelRun) => boolean {
  const lane = ({ key, bulk }: ModelRun) => `${JSON.stringify(model.keys[key])} ${bulk}`;
  return (other) => lane(other) === lane(run) && other.priority > run.priority;
}

/** Of the tenants that may start a run, the one with the fewest running for its weight comes first. */
function assertFair(before: Model, taken: ModelRun, bulk: number): void {
  const share = (run: ModelRun) => runningOf(before, "tenant", run) / (tenantOf(before, run)?.weight ?? 1);
  const rivals = Object.values(before.runs).filter((run) => mayStart(before, run) && (!run.bulk || bulk > 0));
  explained(
    rivals.every((rival) => share(taken) <= share(rival)),
    "a tenant came first whose share was not the least",
  );
}

function mayStart(model: Model, run: ModelRun): boolean {
  const [tenant, pipeline] = [tenantOf(model, run), pipelineOf(model, run)];
  if (!tenant || !pipeline || run.status !== "pending" || !run.due) return false;
  if (tenant.paused || pipeline.paused || (run.bulk && model.reingests[keyOf(model, run).tenant]))
    return false;
  if (Object.values(model.runs).some(({ key, status }) => key === run.key && status === "running"))
    return false;
  return (
    runningOf(model, "tenant", run) < (tenant.cap ?? Number.POSITIVE_INFINITY) &&
    runningOf(model, "pipeline", run) < (pipeline.cap ?? Number.POSITIVE_INFINITY)
  );
}

function runningOf(model: Model, by: "tenant" | "pipeline", run: ModelRun): number {
  const name = keyOf(model, run)[by];
  return Object.values(model.runs).filter((o) => o.status === "running" && keyOf(model, o)[by] === name)
    .length;
}

function keyOf(model: Model, { key }: ModelRun): ModelKey {
  return model.keys[key] ?? { tenant: "", pipeline: "" };
}
const tenantOf = (model: Model, run: ModelRun) => model.tenants[keyOf(model, run).tenant];
const pipelineOf = (model: Model, run: ModelRun) => model.pipelines[keyOf(model, run).pipeline];

/** All that the holder of a lease may do with its run. */
export const ends = [
  "renew",
  "start",
  "succeed",
  "retry",
  "retry later",
  "give up",
  "rate limit",
  "release",
  "park",
  "cancel",
] as const;
export type End = (typeof ends)[number];

/** Whoever does not hold the run is refused, whatever it is that it wants. */
export function end(model: Model, how: End, { id, lease_token }: Claimed, refused: boolean): void {
  const run = model.runs[id];
  const holds = run?.status === "running" && run.token === lease_token;
  explained(
    refused === !holds,
    `a lease that is ${holds ? "" : "not "}held was ${refused ? "refused" : "honoured"}`,
  );
  if (run && holds) endHeld(model, how, run);
}

function endHeld(model: Model, how: End, run: ModelRun): void {
  if (how === "renew") run.expired = false;
  else if (how === "start") Object.assign(run, { attempt: run.attempt + 1, started: true });
  else {
    const ending = endingOf(model, how, run);
    if (ending[0] === "success" || ending[0] === "waiting") supersede(model, run.key);
    leave(model, run, ...ending);
    run.due = how !== "retry later" || run.status !== "pending";
  }
}

/** What has read the newest there is leaves nothing to be asked about what was before. */
function supersede(model: Model, key: number): void {
  const older = Object.values(model.runs).filter((run) => run.key === key && run.status === "waiting");
  for (const run of older) leave(model, run, "cancelled");
}

/** What a person's answer does to a run: with its attempts, and in the place of the one that is pending. */
export function answer(model: Model, id: string, told: Answer): void {
  const run = model.runs[id];
  explained(
    told === (run?.status === "waiting" ? "pending" : "STATE_TRANSITION"),
    `an answer was told ${told}`,
  );
  if (run?.status !== "waiting") return;
  const taken = pendingOf(model, run.key);
  if (taken) {
    run.version = Math.max(run.version, taken.version);
    run.priority = Math.max(run.priority, taken.priority);
    run.bulk = run.bulk && taken.bulk;
    leave(model, taken, "cancelled");
    taken.bulk = false;
  }
  leave(model, run, "pending", 0);
}

/** The status that an attempt leaves its run in, and how many attempts that has then had. */
function endingOf(
  model: Model,
  how: Exclude<End, "renew" | "start">,
  run: ModelRun,
): readonly [Status, number] {
  const nth = run.attempt + (run.started ? 0 : 1);
  switch (how) {
    case "succeed":
      return ["success", run.attempt];
    case "cancel":
      return ["cancelled", run.attempt];
    case "park":
      return [run.cancelAsked ? "cancelled" : "waiting", run.attempt];
    case "release":
    case "rate limit":
      return [givenUp(model, run, false), nth - 1];
    case "give up":
      return [givenUp(model, run, true), nth];
    case "retry":
    case "retry later":
      return [givenUp(model, run, nth >= maxAttempts), nth];
  }
}

function givenUp(model: Model, { cancelAsked, key }: ModelRun, spent: boolean): Status {
  if (cancelAsked) return "cancelled";
  if (spent) return "failed";
  return pendingOf(model, key) ? "cancelled" : "pending";
}

function leave(model: Model, run: ModelRun, status: Status, attempt = run.attempt): void {
  model.clock += 1;
  const unheld = { started: false, cancelAsked: false, expired: false, token: null };
  Object.assign(run, { ...unheld, status, attempt, ended: model.clock, due: true });
}

export function expire(model: Model, { id, lease_token }: Claimed): void {
  const run = model.runs[id];
  if (run?.token === lease_token) run.expired = true;
}

export type Reaped = { readonly id: string; readonly status: Status };

/** An attempt that was cut off counts where its graph had started. */
export function reap(model: Model, reaped: readonly Reaped[], crowded: boolean): void {
  for (const { id, status } of reaped) {
    const run = model.runs[id];
    explained(run?.expired === true, `run ${id} was reaped`);
    if (!run) return;
    const becomes = givenUp(model, run, run.started && run.attempt >= maxAttempts);
    explained(status === becomes, `a run whose lease ran out is ${status} and not ${becomes}`);
    leave(model, run, becomes);
  }
  const left = Object.values(model.runs).some(({ expired }) => expired);
  explained(crowded || !left, "a run whose lease ran out was not reaped");
}

/** What a person is told who steers a run. */
export type Answer = Status | "STATE_TRANSITION" | "NOT_FOUND";

export function cancelRun(model: Model, id: string, answer: Answer): void {
  const run = model.runs[id];
  if (run?.status === "running") {
    run.cancelAsked = true;
    explained(answer === "running", `to be cancelled, a running run was ${answer}`);
    return;
  }
  const open = run?.status === "pending" || run?.status === "waiting";
  explained(answer === (open ? "cancelled" : "STATE_TRANSITION"), `the answer to a cancel was ${answer}`);
  if (run && open) leave(model, run, "cancelled");
}

/** Cancels all that is to be done about the entity of a key, which is its alone. */
export function cancelEntity(model: Model, key: number, cancelled: number): void {
  const runs = Object.values(model.runs).filter((run) => run.key === key);
  const open = runs.filter(({ status }) => status === "pending" || status === "waiting");
  for (const run of runs) if (run.status === "running") run.cancelAsked = true;
  explained(cancelled === open.length, `${cancelled} runs of an entity were cancelled`);
  for (const run of open) leave(model, run, "cancelled");
}

export function retry(model: Model, id: string, answer: Answer): void {
  const run = model.runs[id];
  const may = run?.status === "failed" && !pendingOf(model, run.key);
  explained(answer === (may ? "pending" : "STATE_TRANSITION"), `the answer to a retry was ${answer}`);
  if (run && may) tryAgain(model, run);
}

/** Of the dead letters of a key that no later run has healed, the newest is tried again, unless one is pending. */
export function redrive(model: Model, pipeline: string, redriven: number): void {
  const dead = model.keys.flatMap((key, n) => {
    if (key.pipeline !== pipeline || pendingOf(model, n)) return [];
    const newest = Object.entries(model.runs)
      .filter(([, run]) => run.key === n && run.status === "failed" && !isHealed(model, run))
      .sort(([a], [b]) => (a < b ? 1 : -1))[0];
    return newest ? [newest[1]] : [];
  });
  explained(redriven === dead.length, `${redriven} dead letters were redriven`);
  for (const run of dead) tryAgain(model, run);
}

function tryAgain(model: Model, run: ModelRun): void {
  leave(model, run, "pending", 0);
  run.bulk = false;
}

function isHealed({ runs }: Model, dead: ModelRun): boolean {
  return Object.values(runs).some(
    (o) => o.key === dead.key && o.status === "success" && o.ended > dead.ended,
  );
}

function pendingOf({ runs }: Model, key: number): ModelRun | undefined {
  return Object.values(runs).find((run) => run.key === key && run.status === "pending");
}
