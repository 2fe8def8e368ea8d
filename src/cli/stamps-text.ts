import { loregraphError } from "../errors.ts";
import { type Models, openModels } from "../models/models.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Registry } from "../registry.ts";
import { ingestionOf } from "../reingest/request.ts";
import { type Maker, makerOf } from "../store/stamps.ts";
import { countStamps, type Stamped } from "../versions/stale.ts";
import { ago, print, table } from "./output.ts";
import { unknownPipeline } from "./program.ts";
import { registryInUse } from "./registry-in-use.ts";
import type { Session } from "./session.ts";

/**
 * How an output's stamp stands to what runs now: `current`; `stale`, of another version, model or prompts; `recoded`, as
 * it would be stamped now but by other code; `unknown` where its pipeline is gone, or lacks the model that it needs.
 */
type Standing = "current" | "stale" | "recoded" | "unknown";

type Answer = {
  readonly tenant_id: string | null;
  readonly stale: number;
  readonly recoded: number;
  readonly stamps: readonly (Stamped & { readonly standing: Standing })[];
};

/** Shows what made the outputs there are, beside what would make them now. */
export async function showStamps(
  { pool, config }: Session,
  filter: { readonly tenant_id: string | undefined; readonly pipeline: string | undefined },
  json: boolean | undefined,
): Promise<void> {
  const registry = await registryInUse({ config, pool });
  const { pipeline, tenant_id } = filter;
  if (pipeline !== undefined && !registry.has(pipeline)) throw unknownPipeline(pipeline, registry.keys());
  const counted = await countStamps(pool, ingestionOf(registry).name, filter);
  const standing = standingIn(registry, openModels(config.models));
  const stamps = counted.map((stamp) => ({ ...stamp, standing: standing(stamp) }));
  const sum = (of: Standing) =>
    stamps.filter((stamp) => stamp.standing === of).reduce((total, { outputs }) => total + outputs, 0);
  const answer = { tenant_id: tenant_id ?? null, stale: sum("stale"), recoded: sum("recoded"), stamps };
  print<Answer>(answer, json, asText);
}

function standingIn(registry: Registry, models: Models): (stamp: Stamped) => Standing {
  const makers = new Map([...registry.values()].map((each) => [each.name, makerOrNone(each, models)]));
  return (stamp) => {
    const maker = makers.get(stamp.pipeline);
    if (maker === undefined) return "unknown";
    const { pipeline_version, model, prompt_hash, fingerprint } = maker;
    const is = stamp.pipeline_version === pipeline_version && stamp.model === model;
    if (!is || stamp.prompt_hash !== prompt_hash) return "stale";
    return (stamp.fingerprint ?? fingerprint) === fingerprint ? "current" : "recoded";
  };
}

function makerOrNone(pipeline: Pipeline, models: Models): Maker | undefined {
  try {
    return makerOf(pipeline, models);
  } catch (error) {
    if (loregraphError(error)?.code === "MODEL_REQUIRED") return undefined;
    throw error;
  }
}

function asText({ stale, recoded, stamps }: Answer): string {
  if (stamps.length === 0) return "nothing has been made yet";
  const rows = stamps.map((stamp) => [
    stamp.pipeline,
    stamp.pipeline_version,
    stamp.model,
    stamp.prompt_hash.slice(0, 7),
    stamp.fingerprint?.slice(0, 10) ?? "",
    stamp.outputs,
    ago(stamp.newest),
    stamp.standing,
  ]);
  return [
    table(["pipeline", "version", "model", "prompts", "code", "outputs", "newest", ""], rows),
    "",
    `${stale} stale, ${recoded} of other code`,
    ...(stale > 0
      ? ["to make the stale ones anew: npx loregraph reingest --stale --tenant <uuid> --dry-run"]
      : []),
    ...(recoded > 0 ? ["to make those of other code anew: the same with --only recoded"] : []),
  ].join("\n");
}
