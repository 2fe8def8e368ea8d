/** The name in the ledger of a version that is only tried: its runs are queued, capped, paused and counted by it. */
export function triedName({ name, version }: { readonly name: string; readonly version: number }): string {
  return `${name}@${version}`;
}

/** What users do comes first. */
export const triedPriority = -100;

/** The pipeline and the version that such a name stands for, or undefined for the name of one that runs. */
export function readTriedName(
  pipeline: string,
): { readonly name: string; readonly version: number } | undefined {
  const [name, version] = pipeline.split("@");
  return name === undefined || version === undefined ? undefined : { name, version: Number(version) };
}
