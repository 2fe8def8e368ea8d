import type { Models } from "../models/models.ts";
import { enricherOf, type Pipeline } from "../pipeline.ts";
import type { Filters } from "./request.ts";
import type { Scope } from "./scope.ts";

type Noted = {
  /** All pipelines: some run when those of the scope have stored something. */
  readonly pipelines: readonly Pipeline[];
  readonly scope: Scope;
  readonly filters: Filters;
  readonly models: Pick<Models, "local" | "unpriced">;
  readonly rows: readonly { readonly run: number; readonly basis: string }[];
};

/** What a person must know to read the figures of a plan. */
export function notesOn({ pipelines, scope, filters, models, rows }: Noted): string[] {
  const runs = rows.some(({ run }) => run > 0);
  return [
    ...scope.leftOut.map(({ pipeline, because }) => `${pipeline} is left out: ${because}`),
    ...(models.local ? ["the models are local and cost nothing"] : []),
    ...models
      .unpriced(pipelines)
      .map((model) => `${model} has no price, and is counted as free; LOREGRAPH_PRICES can name one`),
    ...(rows.some(({ run, basis }) => run > 0 && basis === "estimated") ? [byLength] : []),
    ...(runs ? notesOnBase(scope, filters) : []),
    ...(runs ? dependents(pipelines, scope) : []),
    ...(filters.source === "main-service" ? [asStored] : []),
  ];
}

const byLength =
  "what is estimated goes by the length of the texts, and takes one call of the model for each prompt of a pipeline";

const asStored = "the entities are counted as they are stored here, before the main service was asked";

function notesOnBase({ base, enrichers, only }: Scope, { force }: Filters): string[] {
  if (!base) return [...more(enrichers)];
  return [
    "vectors that the tenant has already are used again and cost nothing, so a text that changed in part costs less",
    ...(force ? [] : ["a run whose graph would read just what it read before ends without running it"]),
    ...(only ? [`what follows from a base run is not held to only: ${only}`] : []),
    ...more(enrichers),
  ];
}

/** They run where what they go on from changes, which nobody knows before. */
function dependents(pipelines: readonly Pipeline[], { enrichers }: Scope): string[] {
  return enrichers.flatMap(({ pipeline }) => {
    const names = pipelines
      .filter(({ trigger }) => enricherOf(trigger.on) === pipeline.name)
      .map(({ name }) => name);
    return names.length === 0 ? [] : [`what ${pipeline.name} stores may add runs of ${names.join(", ")}`];
  });
}

/** Runs that nobody can count before the texts were read. */
function more(enrichers: Scope["enrichers"]): string[] {
  const mentioned = enrichers
    .filter(({ pipeline }) => pipeline.trigger.mentioned)
    .map((each) => each.pipeline.name);
  const emitting = enrichers
    .filter(({ pipeline }) => pipeline.emits.length > 0)
    .map((each) => each.pipeline.name);
  return [
    ...(mentioned.length > 0 ? [`mentions in texts that run may add runs of ${mentioned.join(", ")}`] : []),
    ...(emitting.length > 0 ? [`events that ${emitting.join(", ")} emits may add runs`] : []),
  ];
}
