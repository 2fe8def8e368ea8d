import type { Metadata, SourceType } from "../pipeline.ts";

/** An entity as a source gives it, before the store compares it with what it has. */
export type Draft = {
  readonly source_type: SourceType;
  readonly source_id: string;
  readonly title: string;
  readonly text: string;
  readonly metadata: Metadata;
};

/** What a source could not take, and why; `line` counts from 1. */
export type Rejected = { readonly line?: number; readonly reason: string };
