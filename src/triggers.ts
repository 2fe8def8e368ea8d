import { enricherOf, type Metadata, type Outcome, type Pipeline, runtimeEvents } from "./pipeline.ts";
import { nearest } from "./sources/nearest.ts";

/** What is wrong with how a pipeline is triggered or what it emits. */
export type TriggerFault = { readonly pipeline: string; readonly what: string };

/** What would keep these pipelines, several versions of one among them, from working together. */
export function faultsOf(pipelines: readonly Pipeline[]): readonly TriggerFault[] {
  const faults = [...emitFaults(pipelines), ...firingFaults(pipelines)];
  return faults.length > 0 ? faults : cycleFaults(pipelines);
}

/** What the runtime tells of is the runtime's to tell: others take it for a fact. */
function emitFaults(pipelines: readonly Pipeline[]): readonly TriggerFault[] {
  const reserved: readonly string[] = runtimeEvents;
  return pipelines.flatMap(({ name, emits }) =>
    emits
      .filter((event) => reserved.includes(event) || enricherOf(event) !== undefined)
      .map((event) => ({
        pipeline: name,
        what: `expected emits to name events of its own, got: ${event}, the runtime's`,
      })),
  );
}

/** A trigger that never fires, or whose every run ends cancelled, would fail without anybody being told. */
function firingFaults(pipelines: readonly Pipeline[]): readonly TriggerFault[] {
  return pipelines.flatMap(({ name, trigger }) => {
    const what = firingFault(trigger, pipelines);
    return what === undefined ? [] : [{ pipeline: name, what }];
  });
}

function firingFault(
  { on, mentioned }: Pipeline["trigger"],
  pipelines: readonly Pipeline[],
): string | undefined {
  const enricher = enricherOf(on);
  if (enricher !== undefined) return unknownEnricher(enricher, pipelines);
  const events = plainEvents(pipelines);
  if (!events.includes(on)) return `expected trigger.on to be one of ${events.join(", ")}, got: ${on}`;
  return on === "entity.deleted" && !mentioned ? goneBefore : undefined;
}

/** The events that may trigger a pipeline: the runtime's, those that these announce, and what enrichers have stored. */
export function triggerEvents(pipelines: readonly Pipeline[]): readonly string[] {
  const enrichers = pipelines.filter(({ kind }) => kind === "enricher");
  return [...plainEvents(pipelines), ...enrichers.map(({ name }) => `${name}.enriched`)];
}

function plainEvents(pipelines: readonly Pipeline[]): readonly string[] {
  // Nobody asks for a reingest yet.
  const appended = runtimeEvents.filter((event) => event !== "reingest.requested");
  return [...appended, ...pipelines.flatMap(({ emits }) => emits)];
}

const goneBefore =
  "would never run: after entity.deleted its entity is gone; with trigger.mentioned it runs on those that the text spoke of";

function unknownEnricher(enricher: string, pipelines: readonly Pipeline[]): string | undefined {
  const names = [...new Set(pipelines.filter(({ kind }) => kind === "enricher").map(({ name }) => name))];
  if (names.includes(enricher)) return undefined;
  const meant = nearest(enricher, names);
  return (
    `expected trigger.on to wait for an enricher (${names.join(", ")}), got: ${enricher}.enriched` +
    (meant ? `; did you mean ${meant}.enriched?` : "")
  );
}

/** What runs because of itself would run for ever, or until its answers happen to stay the same. */
function cycleFaults(pipelines: readonly Pipeline[]): readonly TriggerFault[] {
  const follow = followersOf(pipelines);
  for (const name of follow.keys()) {
    const cycle = cycleFrom(name, follow);
    if (cycle) return [{ pipeline: name, what: `would run because of itself: ${cycle.join(" → ")}` }];
  }
  return [];
}

/** Who runs because of whom, all versions of a pipeline taken together: any of them may come to run. */
function followersOf(pipelines: readonly Pipeline[]): ReadonlyMap<string, ReadonlySet<string>> {
  const follow = new Map(pipelines.map(({ name }) => [name, new Set<string>()]));
  for (const pipeline of pipelines)
    for (const { name, trigger } of pipelines)
      if (mayFollow(pipeline, trigger)) follow.get(pipeline.name)?.add(name);
  return follow;
}

function mayFollow({ name, kind, emits }: Pipeline, trigger: Pipeline["trigger"]): boolean {
  if (emits.includes(trigger.on)) return true;
  if (kind !== "enricher" || !["entity.enriched", `${name}.enriched`].includes(trigger.on)) return false;
  return outcomes.some((outcome) => mayWant(trigger, { pipeline: name, outcome }));
}

const outcomes: readonly Outcome[] = ["completed", "skipped", "eval_rejected"];

/** What an enricher tells of itself is known beforehand, so a pipeline may wait for those of others alone. */
function mayWant({ when }: Pipeline["trigger"], metadata: Metadata): boolean {
  try {
    return when === undefined || when(metadata);
  } catch {
    return true; // the router will tell of it
  }
}

/** The shortest way from a pipeline back to itself. */
function cycleFrom(
  start: string,
  follow: ReadonlyMap<string, ReadonlySet<string>>,
): readonly string[] | undefined {
  const ways = [[start]];
  const seen = new Set<string>();
  for (let way = ways.shift(); way !== undefined; way = ways.shift()) {
    for (const next of follow.get(way.at(-1) ?? "") ?? []) {
      if (next === start) return [...way, next];
      if (!seen.has(next)) ways.push([...way, next]);
      seen.add(next);
    }
  }
  return undefined;
}
