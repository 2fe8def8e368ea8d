import { LoregraphError } from "../errors.ts";
import { sourceTypes } from "../pipeline.ts";
import { nearest } from "../sources/nearest.ts";

/** What stands for something else wherever a pipeline is named. */
const reserved: readonly string[] = ["base", "webhook"];

/** Throws INPUT_INVALID for a name that no pipeline may bear, or that another one bears. */
export function assertFreeName(name: string, taken: readonly string[]): void {
  if (!/^[a-z][a-z0-9-]{0,62}$/.test(name)) throw refused(wrongName(name));
  if (reserved.includes(name)) throw refused(`${name} is the runtime's own: choose another name`);
  if (taken.includes(name))
    throw refused(`langgraph.json names a pipeline ${name} already: choose another name`);
}

function wrongName(name: string): string {
  const near = slug(name);
  const meant = near ? `, did you mean ${near}?` : "";
  return `expected a name of lower-case letters, digits and hyphens, got: ${JSON.stringify(name)}${meant}`;
}

/** "Scene Weather", "sceneWeather" and "scene_weather" as the name of a pipeline. */
function slug(name: string): string {
  const words = name
    .replace(/(\p{Ll})(\p{Lu})/gu, "$1-$2")
    .normalize("NFKD")
    .toLowerCase();
  return words
    .replace(/\p{M}/gu, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^[^a-z]+|-+$/g, "")
    .slice(0, 63);
}

/** Throws INPUT_INVALID for an event that nobody tells of, or after which there is nothing to read. */
export function assertEvent(on: string, known: readonly string[]): void {
  if (!known.includes(on)) throw unknown("event", on, known);
  if (on === "entity.deleted")
    throw refused("after entity.deleted there is no entity to read: name another event");
}

/** Throws INPUT_INVALID for what is no source type. */
export function assertSourceTypes(types: readonly string[]): void {
  const stranger = types.find((type) => !(sourceTypes as readonly string[]).includes(type));
  if (stranger !== undefined) throw unknown("source type", stranger, sourceTypes);
}

function unknown(what: string, got: string, known: readonly string[]): LoregraphError {
  const near = nearest(got, known);
  return refused(
    near
      ? `unknown ${what} ${got}, did you mean ${near}?`
      : `expected ${what} to be one of ${known.join(", ")}, got: ${got}`,
  );
}

function refused(message: string): LoregraphError {
  return new LoregraphError("INPUT_INVALID", message);
}
