/** Given to a process by `--import`: its clock is wrong by CHAOS_CLOCK_SKEW_MS. Timers are not: they ask no clock. */
const skewMs = Number(process.env.CHAOS_CLOCK_SKEW_MS);
const TrueDate = Date;

globalThis.Date = new Proxy(TrueDate, {
  construct: (target, given) =>
    given.length === 0 ? new target(target.now() + skewMs) : Reflect.construct(target, given),
  apply: (target) => new target(target.now() + skewMs).toString(),
  get: (target, property) =>
    property === "now" ? () => target.now() + skewMs : Reflect.get(target, property),
});
