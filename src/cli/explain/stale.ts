import type { Db } from "../../db.ts";
import { messageOf } from "../../errors.ts";
import type { Models } from "../../models/models.ts";
import type { Entity, Pipeline, Stamp } from "../../pipeline.ts";
import type { Made } from "../../store/made.ts";
import { readerFor, stampOf } from "../../worker/tools.ts";

/** Why what a pipeline stored would be made another way now; nothing where it is current. */
export async function staleBecause(
  db: Db,
  models: Models,
  { entity, pipeline, made }: { readonly entity: Entity; readonly pipeline: Pipeline; readonly made: Made },
): Promise<readonly string[]> {
  try {
    const now = await stampOf(pipeline, entity, readerFor(db, entity, pipeline.name), models);
    return differences(made, now, entity);
  } catch (error) {
    return [`it cannot be made now: ${messageOf(error)}`];
  }
}

function differences(made: Made, now: Stamp, { version }: Entity): readonly string[] {
  const versions = made.source_version < version ? ` (version ${made.source_version}, now ${version})` : "";
  return [
    ...(made.pipeline_version === now.pipeline_version
      ? []
      : [`its pipeline is version ${now.pipeline_version} now`]),
    ...(made.model === now.model ? [] : [`it would be made by ${now.model} now`]),
    ...(made.prompt_hash === now.prompt_hash ? [] : ["its prompts have changed"]),
    ...(made.input_hash === now.input_hash ? [] : [`what it reads has changed${versions}`]),
  ];
}
