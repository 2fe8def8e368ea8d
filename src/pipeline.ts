/**
 * The contract between graphs and the runtime.
 *
 * - an **entity** is one piece of content of a tenant;
 * - a **pipeline** is a named, versioned LangGraph graph with the rule that triggers it;
 * - the **tools** are all that a graph is lent: it reads, it never writes;
 * - the **answer** is what a graph returns: the worker checks it, stores it and emits its events.
 */
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import type { StateGraph } from "@langchain/langgraph";
import { z } from "zod";
import { assertSound } from "./sound.ts";

/** What an entity is. A new source type is a line here, not a migration. */
export const sourceTypes = [
  "story",
  "chapter",
  "scene",
  "beat",
  "content_block",
  "world",
  "character",
  "location",
  "event",
  "artifact",
  "faction",
  "lore",
] as const;

export const SourceType = z.enum(sourceTypes);
export type SourceType = z.infer<typeof SourceType>;

/** What an event is about: an entity, or the tenant as a whole, by the tenant's own id. */
export const SubjectType = z.enum([...sourceTypes, "tenant"]);
export type SubjectType = z.infer<typeof SubjectType>;

export const Metadata = z.record(z.string(), z.unknown());
export type Metadata = z.infer<typeof Metadata>;

/** One piece of content, as graphs read it. `version` counts its changes from 1. */
export const Entity = z.object({
  tenant_id: z.guid(),
  source_type: SourceType,
  source_id: z.guid(),
  version: z.int().positive(),
  title: z.string().default(""),
  text: z.string().default(""),
  metadata: Metadata.default({}),
});
export type Entity = z.infer<typeof Entity>;

/** The events that the runtime itself appends. Pipelines add theirs under `emits`. */
export const runtimeEvents = [
  "entity.changed",
  "entity.ingested",
  "entity.deleted",
  "entity.enriched",
  "run.waiting",
  "reingest.requested",
  "reingest.paused",
  "reingest.resumed",
  "reingest.completed",
  "reingest.failed",
  "reingest.cancelled",
  "webhook.disabled",
] as const;

/** A fact that others may act on. */
export const LoreEvent = z.object({
  event: z.string(),
  tenant_id: z.guid(),
  source_type: SubjectType,
  source_id: z.guid(),
  version: z.int().positive(),
  occurred_at: z.iso.datetime(),
  metadata: Metadata.default({}),
});
export type LoreEvent = z.infer<typeof LoreEvent>;

/** An event that a graph asks the worker to append with its answer; tenant and entity are the run's own. */
export const Emitted = z.object({ event: z.string(), metadata: Metadata.default({}) });
export type Emitted = z.infer<typeof Emitted>;

/** A stretch of text of this tenant, and where it stands. Offsets are UTF-16 code units, end exclusive. */
export const Passage = z.object({
  source_type: SourceType,
  source_id: z.guid(),
  path: z.string(),
  text: z.string(),
  start: z.int().nonnegative(),
  end: z.int().nonnegative(),
});
export type Passage = z.infer<typeof Passage>;

/** An entity that a text speaks of. */
export const Mention = z.object({ source_type: SourceType, source_id: z.guid() });
export type Mention = z.infer<typeof Mention>;

/** What graphs may read of their own tenant. Each call sees the last committed state. */
export type Reader = {
  /** The passages in which one of `names` stands as whole words, in reading order. `limit` defaults to 200. */
  passages(names: readonly string[], limit?: number): Promise<readonly Passage[]>;
  /** The other entities of this tenant, characters so far, whose title, a word of it, or an alias stands in `text`. */
  mentioned(text: string): Promise<readonly Mention[]>;
  /** What this pipeline stored for this entity the last time, or undefined. */
  previous(): Promise<unknown>;
  /** What another pipeline stored for this entity the last time, or undefined: what `trigger.on` waits for, say. */
  enrichment(pipeline: string): Promise<unknown>;
};

/** Turns texts into vectors of equal length; a text this tenant embedded before with the same model is not embedded again. */
export type Embed = {
  (
    texts: readonly string[],
    options?: { signal?: AbortSignal | undefined },
  ): Promise<readonly (readonly number[])[]>;
  readonly model: string;
  readonly dimensions: number;
};

/**
 * What a graph is lent. `model` is absent where no chat model is configured: a graph then takes its rule-based
 * branch, or answers that it was skipped.
 */
export type Tools = {
  readonly model?: BaseChatModel | undefined;
  readonly embed: Embed;
  readonly read: Reader;
};

/** What the model calls of an attempt used. Tokens as the provider counts them; cost in US dollars. */
export type Usage = {
  readonly model_calls: number;
  readonly embedding_calls: number;
  readonly tokens_in: number;
  readonly tokens_cached: number;
  readonly tokens_out: number;
  readonly embedding_tokens: number;
  readonly vectors_reused: number;
  readonly cost_usd: number;
};

/** What an attempt has used before it calls anything. */
export const noUsage: Usage = {
  model_calls: 0,
  embedding_calls: 0,
  tokens_in: 0,
  tokens_cached: 0,
  tokens_out: 0,
  embedding_tokens: 0,
  vectors_reused: 0,
  cost_usd: 0,
};

/** What made an output: stored beside it, and compared to tell whether it is stale. */
export type Stamp = {
  readonly pipeline_version: number;
  readonly model: string;
  readonly prompt_hash: string;
  readonly input_hash: string;
  /** That of the code; empty where it was not loaded from a folder. It is noted, and makes no output stale by itself. */
  readonly fingerprint: string;
};

/** The code of a graph: its folder, a fingerprint of that, and the hash of each source file by its path. */
export type Code = {
  readonly folder: string;
  readonly fingerprint: string;
  readonly files: Readonly<Record<string, string>>;
};

/** Of a pipeline that was not loaded from a folder. */
export const noCode: Code = { folder: "", fingerprint: "", files: {} };

/**
 * When a pipeline runs: the event, the source types (all where absent), a condition on metadata, a feature flag.
 *
 * `on: "dialog-mood.enriched"` runs it when the enricher of that name has stored an output, completed or skipped; `when`
 * is then given `{ pipeline, outcome }`, and what was stored is a part of what it reads: it runs again where that changed.
 */
export type Trigger = {
  readonly on: string;
  readonly types?: readonly SourceType[];
  /** Also on each entity of these types that a text mentions when it is ingested, or mentioned when it changed or went. */
  readonly mentioned?: boolean;
  readonly when?: (metadata: Metadata) => boolean;
  readonly flag?: string;
};

/** The enricher whose output a trigger waits for, or undefined where it waits for something else. */
export function enricherOf(on: string): string | undefined {
  return on.startsWith("entity.") ? undefined : /^(.+)\.enriched$/.exec(on)?.[1];
}

/** How a stored answer counts in the ledger. */
export type Outcome = "completed" | "skipped" | "eval_rejected";

/**
 * How an evaluation scores one field of an answer against what an example expects of it, from 0 (wrong) to 1 (right).
 * Where items of a list count, `by` names the one of their fields that counts.
 */
export type Measure =
  /** Are they equal? Lists in the same order. */
  | { readonly kind: "exact"; readonly by?: string }
  /** F1 of the items as sets, letters' case aside; two empty lists are equal. */
  | { readonly kind: "setF1"; readonly by?: string }
  /** Is the number at most `within` off? */
  | { readonly kind: "numeric"; readonly within: number }
  /** F1 of the words of two texts, case and punctuation aside. */
  | { readonly kind: "wordF1" }
  /** Does it hold what is expected, at every depth? Lists have the same length. */
  | { readonly kind: "partial" }
  /** What a chat model says of it by the rubric; `model` defaults to the configured one. */
  | { readonly kind: "judge"; readonly rubric: string; readonly model?: string };

/** How often and how long a pipeline is tried. Times in milliseconds. */
export type Retries = {
  /** Attempts before a run becomes a dead letter. Defaults to 5. */
  readonly attempts: number;
  /** The wait before the second attempt; it doubles with each one, with jitter. Defaults to 2 s. */
  readonly base: number;
  /** The longest wait. Defaults to 10 min. */
  readonly most: number;
};

/** How a pipeline's runs are checkpointed. */
export type Checkpointing = {
  /**
   * LangGraph's durability: `async` saves while the next step runs, `sync` before it runs, `exit` when the graph ends.
   * Defaults to `async`, which in a worker saves a step as soon as losing it would cost more than saving it; a quick
   * run then saves none.
   */
  readonly durability: "async" | "sync" | "exit";
  /** Is every checkpoint kept, so that the history of a run can be read? Defaults to no: the newest is enough to go on. */
  readonly history: boolean;
  /** How long checkpoints outlive the end of their run, in hours; 0 deletes them at once. Defaults to 24. */
  readonly keepHours: number;
};

/** What becomes of a question that nobody answers in time. */
export type Questions = {
  /** How long a question that a graph asks a person waits, in hours. */
  readonly expireHours: number;
  /** What it is answered with then. */
  readonly default: (question: unknown) => unknown;
};

/** What a chunk is made of: speech, telling, or both. */
export const ContentKind = z.enum(["dialogue", "narration", "mixed"]);
export type ContentKind = z.infer<typeof ContentKind>;

/** What kind of text an entity holds; base ingestion branches on it. */
export const TextKind = z.enum(["empty", "structured", "dialogue", "narration"]);
export type TextKind = z.infer<typeof TextKind>;

/** A piece of an entity's text, `text === entity.text.slice(start, end)`, with the headings it stands under. */
export const Chunk = z.object({
  path: z.string(),
  text: z.string(),
  start: z.int().nonnegative(),
  end: z.int().positive(),
  tokens: z.int().nonnegative(),
  content_kind: ContentKind,
});
export type Chunk = z.infer<typeof Chunk>;

/** The text that is embedded for a chunk: its headings, then itself. */
export function embeddedText({ path, text }: Pick<Chunk, "path" | "text">): string {
  return `[H] ${path}\n${text}`;
}

/** A vector on its way through checkpoints: base64 of little-endian 32-bit floats, a quarter of its size as JSON. */
export const PackedVector = z.base64();

export function packVector(vector: readonly number[]): string {
  return Buffer.from(Float32Array.from(vector).buffer).toString("base64");
}

export function unpackVector(packed: string): readonly number[] {
  const bytes = Uint8Array.from(Buffer.from(packed, "base64"));
  return Array.from(new Float32Array(bytes.buffer));
}

/** What base ingestion promises: the only answer that may write documents, chunks, vectors and full text. */
export const Ingested = z.object({
  kind: TextKind,
  language: z.string().nullable().describe("ISO 639-1, null where the text is too short to tell"),
  chunks: z.array(Chunk),
  vectors: z.array(PackedVector).describe("One a chunk, in the same order"),
  mentions: z.array(Mention).default([]).describe("What the text speaks of; told with `entity.ingested`"),
});
export type Ingested = z.infer<typeof Ingested>;

// biome-ignore lint/suspicious/noExplicitAny: a graph's inner types are its own; only its output is promised
type GraphOf<Output extends z.ZodObject> = StateGraph<any, any, any, any, any, Output, any, any, any, any>;

type Definition<Output extends z.ZodObject> = {
  /** Lower case with hyphens, the same as its key in `langgraph.json`. */
  readonly name: string;
  /** Raise it when the graph's answers change: everything it stored is then stale. */
  readonly version: number;
  readonly trigger: Trigger;
  /** The promised shape. An answer that breaks it is never stored. */
  readonly output: Output;
  /** From tools to an **uncompiled** graph, so that the runtime chooses the checkpointer and a test the model. */
  readonly graph: (tools: Tools) => GraphOf<NoInfer<Output>>;
  /** The prompts, so that a changed prompt makes stored outputs stale. */
  readonly prompts?: readonly string[];
  /** The name of the rule-based branch, stamped on its outputs. Without it, the pipeline needs a chat model. */
  readonly local?: string;
  /**
   * The chat models that it asks: the first, and where that is away the next. They take the same parameters. Defaults to
   * the configured one.
   */
  readonly models?: readonly string[];
  /** What the answer depends on beyond text and title; its hash decides whether the graph runs again. */
  readonly reads?: (entity: Entity, read: Reader) => unknown;
  /** How an answer counts. Defaults to `completed`. */
  outcome?(answer: z.infer<Output>): Outcome;
  /** How evaluations score the fields of its answers. A field without one is measured by its type. */
  readonly measures?: Readonly<Partial<Record<keyof z.infer<Output>, Measure>>>;
  /** The events that its answers may name under `events`. */
  readonly emits?: readonly string[];
  readonly retries?: Partial<Retries>;
  readonly checkpoints?: Partial<Checkpointing>;
  /** Without it, a question that its graph asks a person (`interrupt`) waits until somebody answers. */
  readonly questions?: Questions;
  /** The longest attempt, in milliseconds. Defaults to 10 min. */
  readonly timeout?: number;
  /** Runs of a higher priority are claimed first. Defaults to 0. */
  readonly priority?: number;
};

/** A pipeline as the runtime and LangGraph Studio load it; `compile()` is what makes it a graph to Studio. */
export type Pipeline = Required<
  Omit<AnyDefinition, "local" | "models" | "reads" | "measures" | "retries" | "checkpoints" | "questions">
> &
  Pick<AnyDefinition, "local" | "models" | "reads" | "questions"> & {
    readonly measures: Readonly<Record<string, Measure | undefined>>;
    readonly kind: "enricher" | "ingestion";
    readonly retries: Retries;
    readonly checkpoints: Checkpointing;
    /** Found when `langgraph.json` is loaded. */
    readonly code: Code;
    compile(): Promise<ReturnType<ReturnType<AnyDefinition["graph"]>["compile"]>>;
  };

// biome-ignore lint/suspicious/noExplicitAny: the runtime holds pipelines of any output; each was checked when defined
type AnyDefinition = Definition<z.ZodObject> & { readonly graph: (tools: Tools) => GraphOf<any> };

/** The one kind of pipeline whose answers may be stored as documents, chunks, vectors and full text. */
export type IngestionPipeline = Pipeline & { readonly kind: "ingestion" };

/** Defines an enricher. Refuses, at compile time, a graph whose output is not what it promises to store. */
export function definePipeline<Output extends z.ZodObject>(definition: Definition<Output>): Pipeline {
  return build("enricher", definition);
}

/** Defines base ingestion: its answer is `Ingested`, and only it may be. */
export function defineIngestion(definition: Omit<Definition<typeof Ingested>, "output">): IngestionPipeline {
  return { ...build("ingestion", { ...definition, output: Ingested }), kind: "ingestion" };
}

function build<Output extends z.ZodObject>(kind: Pipeline["kind"], definition: Definition<Output>): Pipeline {
  const { name } = definition;
  const retries = { attempts: 5, base: 2_000, most: 600_000, ...definition.retries };
  const checkpoints = { ...checkpointing, ...definition.checkpoints };
  assertSound({ timeout: 600_000, priority: 0, ...definition, retries, checkpoints });
  const measures: Pipeline["measures"] = { ...definition.measures };
  return {
    prompts: [],
    outcome: () => "completed",
    emits: [],
    timeout: 600_000,
    priority: 0,
    ...definition,
    measures,
    kind,
    retries,
    checkpoints,
    code: noCode,
    compile: async () => {
      // Loaded only here: neither the worker nor a graph's test needs it.
      const { studioTools } = await import("./studio.ts");
      return definition.graph(studioTools(name)).compile({ name });
    },
  };
}

const checkpointing: Checkpointing = { durability: "async", history: false, keepHours: 24 };
