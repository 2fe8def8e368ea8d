import type { Pipeline } from "../pipeline.ts";
import type { Recorded } from "./recorded.ts";

/** A pipeline whose code is not what was run under its version before. */
export type Changed = {
  readonly pipeline: string;
  readonly version: number;
  /** When the code that counts as this version was first run. */
  readonly since: Date;
  /** The source files that changed, came or went. */
  readonly files: readonly string[];
};

/** How a pipeline's code differs from what was run under its version, or undefined where it does not. */
export function changeOf(
  { name, version, code }: Pipeline,
  recorded: readonly Recorded[],
): Changed | undefined {
  const form = code.fingerprint.slice(0, 2);
  const accepted = recorded.filter(
    (row) =>
      row.pipeline === name &&
      row.version === version &&
      row.accepted_at !== null &&
      row.fingerprint.startsWith(form),
  );
  const [latest] = accepted;
  if (latest === undefined || accepted.some(({ fingerprint }) => fingerprint === code.fingerprint)) return;
  return { pipeline: name, version, since: latest.first_seen, files: filesChanged(latest.files, code.files) };
}

type Files = Readonly<Record<string, string>>;

function filesChanged(before: Files, now: Files): readonly string[] {
  const paths = new Set([...Object.keys(before), ...Object.keys(now)]);
  return [...paths].filter((path) => before[path] !== now[path]).toSorted();
}

/** What a person is told of it. */
export function changedText({ pipeline, version, files }: Changed): string {
  return (
    `${pipeline} changed since version ${version} was first run (${files.join(", ")}): raise its version to ` +
    `${version + 1} if its answers change; if they do not, say so: loregraph check --accept ${pipeline}`
  );
}
