export type CallKind = "chat" | "embedding";

/** Who answered a call: a model server, our own cache, or a tape that was recorded before. */
export type CallSource = "provider" | "cache" | "replay";

/** One question to a model that was answered, whether or not the answer could be used. */
export type ModelCall = {
  readonly kind: CallKind;
  /** The model that was asked for the answer in the end: the first, or one that it fell back to. */
  readonly model: string;
  /** The node of the graph that asked; undefined outside of graphs. */
  readonly node: string | undefined;
  /** The same for the same question: `keyOf` of the request's body. */
  readonly key: string;
  readonly from: CallSource;
  /** As the server billed them, or once billed them where the answer came from a cache or a tape. */
  readonly tokens_in: number;
  readonly tokens_cached: number;
  readonly tokens_out: number;
  /** In US dollars, by the price table; 0 where no server was asked, and where no price is known. */
  readonly cost_usd: number;
  /** What it would have cost, where no server was asked. */
  readonly saved_usd: number;
  /** How long the answer took: the server's own time where one was asked, without the wait for a limit before it. */
  readonly ms: number;
  /** The bodies, parsed where they are JSON. For traces and tapes; they are never logged, nor stored in the ledger. */
  readonly request: unknown;
  readonly response: unknown;
};
