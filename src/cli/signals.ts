import { exitCodes, Interrupted } from "./exit-codes.ts";

/** What is sent to a whole group of processes arrives twice: from the sender, and passed on by a parent. */
const echoMs = 500;

/**
 * The first SIGINT or SIGTERM, or the end of a parent that kept a channel to us, asks `work` to end, so that it leaves
 * nothing behind; a second signal ends the process.
 */
export function heedSignals(): { readonly signal: AbortSignal; forget(): void } {
  const asked = new AbortController();
  let first: { readonly name: NodeJS.Signals; readonly at: number } | undefined;
  const hear = (name: NodeJS.Signals) => {
    const at = performance.now();
    if (first && (name !== first.name || at - first.at > echoMs)) process.exit(exitCodes.interrupted);
    first ??= { name, at };
    asked.abort(new Interrupted());
  };
  const orphaned = () => asked.abort(new Interrupted());
  process.on("SIGINT", hear).on("SIGTERM", hear).on("disconnect", orphaned);
  process.channel?.unref();
  const forget = () => void process.off("SIGINT", hear).off("SIGTERM", hear).off("disconnect", orphaned);
  return { signal: asked.signal, forget };
}
