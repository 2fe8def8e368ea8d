import { databaseFaults, type Fault, type FaultKind, workerFaults } from "./faults.ts";
import { between, drawn } from "./random.ts";

/** A fault, and how long nothing happens before it, in milliseconds. */
export type Scheduled = Fault & { readonly afterMs: number };

/** What happens to the workers, and beside it, what happens to the database: each one fault after the other. */
export type Schedule = { readonly workers: readonly Scheduled[]; readonly database: readonly Scheduled[] };

export type ScheduleOptions = {
  readonly seed: number;
  /** About how long it is to last, in milliseconds. */
  readonly ms: number;
  readonly workers: number;
  /** Faults that cannot be had here. */
  readonly without?: readonly FaultKind[];
};

/** The faults that a seed means. The same seed gives the same ones. */
export function drawSchedule({ seed, ms, workers, without = [] }: ScheduleOptions): Schedule {
  const possible = <Kind extends FaultKind>(kinds: readonly Kind[]) =>
    kinds.filter((kind) => !without.includes(kind));
  const lane = (name: string, kinds: readonly FaultKind[], pauseMs: number) => {
    const faults: Scheduled[] = [];
    for (let spent = 0, n = 0; spent < ms; n++) {
      const what = `${name} ${n}`;
      const fault = {
        kind: drawn(seed, `${what} kind`, kinds),
        worker: between(seed, `${what} worker`, 0, workers - 1),
        ms: between(seed, `${what} ms`, 200, 4_000),
        afterMs: between(seed, `${what} after`, 100, pauseMs),
      };
      faults.push(fault);
      spent += fault.afterMs + fault.ms;
    }
    return faults;
  };
  return {
    workers: lane("worker", possible(Object.keys(workerFaults) as (keyof typeof workerFaults)[]), 2_000),
    database: lane(
      "database",
      possible(Object.keys(databaseFaults) as (keyof typeof databaseFaults)[]),
      8_000,
    ),
  };
}

/** A fault in a few words. */
export function described({ kind, worker, ms, afterMs }: Scheduled): string {
  const whose = kind in workerFaults ? ` worker ${worker}` : "";
  return `after ${afterMs} ms:${whose} ${kind} (${ms} ms)`;
}
