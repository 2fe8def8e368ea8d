/**
 * The one way that every question to a model server takes: a chain of layers around the network.
 *
 *     tape (record, replay) → cache → batches of embeddings → fallbacks → limits, breaker → the attempt's gate → network
 *
 * A layer is a function from what comes after it to itself. It may answer by itself, wait, ask again, ask another model
 * (`withModel`), or throw a Loregraph error, which comes out of the call that asked. The layers belong to the process;
 * whatever belongs to an attempt stands in the request (`asker`, `gate`, `signal`), so that a layer may hold what several
 * attempts share: a place in a queue, one answer for the same question, a batch.
 *
 * To add one: a file here that exports a function which answers a `Layer`, a field of `Layers`, a place in `chain`. A
 * message of an error must not say "timed out": the client would take it for its own time-out and drop the error.
 */
import type { CallKind, CallSource } from "./calls.ts";

/** For whom a question is asked. */
export type Asker = {
  readonly tenant_id: string;
  readonly run_id: string;
  readonly pipeline: string;
  /** Is every question to be asked of a server, whatever is kept? Of a run that failed before, or that is forced. */
  readonly fresh?: boolean;
};

/** One question to a model server, on its way. */
export type ModelRequest = {
  readonly kind: CallKind;
  readonly model: string;
  /** The node of the graph that asks; undefined outside of graphs. */
  readonly node: string | undefined;
  /** The same for the same question: `keyOf(body)`. */
  readonly key: string;
  readonly url: string;
  /** The key of the server among them: never to be written anywhere. */
  readonly headers: Headers;
  /** The parsed JSON of what will be sent. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly signal: AbortSignal | undefined;
  /** Undefined where nobody's run asks: in Studio, in a trial. */
  readonly asker: Asker | undefined;
  /** The models that may be asked instead where this one cannot be, in their order. */
  readonly fallbacks: readonly string[];
  /** Holds the asking attempt's time while it waits for its turn. */
  readonly hold?: (() => Disposable) | undefined;
  /** How long it may wait for its turn, in milliseconds. Defaults to what the layer of limits is set to. */
  readonly patienceMs?: number;
  /** What the asking attempt waits for right before the network; where it throws, nothing is asked. */
  readonly gate: Gate;
};

/** What an answer was, whatever its status. */
export type ModelResponse = {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
  readonly from: CallSource;
  /** The model that was asked in the end. */
  readonly model: string;
  /** How long the server took, in milliseconds; absent where none was asked. */
  readonly ms?: number;
};

export type Gate = (request: ModelRequest) => Promise<void>;
export type Send = (request: ModelRequest) => Promise<ModelResponse>;
export type Layer = (next: Send) => Send;

/** A layer that keeps answers, once it is known that they were of use. */
export type Cache = {
  readonly layer: Layer;
  /** What was asked for an attempt led to an answer that was accepted. */
  keep(asker: Asker): Promise<void>;
};

/** Each is optional, and simply absent where what it needs is not there. */
export type Layers = {
  readonly tape?: Layer | undefined;
  readonly cache?: Cache | undefined;
  readonly batches?: Layer | undefined;
  readonly fallbacks?: Layer | undefined;
  readonly limits?: Layer | undefined;
};

/** The layers in their order, from the outside, around the network. */
export function chain({ tape, cache, batches, fallbacks, limits }: Layers, network: Send): Send {
  return [tape, cache?.layer, batches, fallbacks, limits]
    .filter((layer) => layer !== undefined)
    .reduceRight((next, layer) => layer(next), network);
}
