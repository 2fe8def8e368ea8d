import type { NotedCall } from "../ledger/calls.ts";
import type { RunEnd } from "../ledger/end.ts";
import type { NewQuestion } from "../ledger/questions.ts";
import type { ClaimedRun } from "../ledger/run.ts";
import {
  Emitted,
  type Entity,
  Ingested,
  type IngestionPipeline,
  type Mention,
  type Outcome,
  type Pipeline,
} from "../pipeline.ts";
import type { Routable } from "../router.ts";
import type { CandidateKey, NewCandidate } from "../store/candidates.ts";
import { type DocumentRows, documentRows } from "../store/documents.ts";
import type { NewEnrichment } from "../store/enrichments.ts";
import { storableJson } from "../store/storable.ts";
import type { Ended, Ends } from "./ended.ts";
import { enrichedEvent, graphEvents, ingestedEvent, mentionsIn, waitingEvent } from "./events.ts";

/**
 * An ending with all that it will store and tell, computed before its transaction begins: what can fail of it alone,
 * such as a pipeline's own code, has not failed then.
 */
export type Settled = {
  readonly run: ClaimedRun;
  /** How its run ends. */
  readonly end: RunEnd;
  /** What its attempt asked of models. */
  readonly calls: readonly NotedCall[];
  /** What it stores, in characters of JSON. */
  readonly weight: number;
  /** What it stores and tells, and about what: where that is gone, nothing, and the run ends cancelled. */
  readonly news?: News | undefined;
  /** What it asks people, where its run waits for them: only then has it asked, and tells of it. */
  readonly questions?: readonly NewQuestion[] | undefined;
};

export type News = {
  readonly entity: Entity;
  readonly document?: DocumentRows | undefined;
  readonly enrichment?: NewEnrichment | undefined;
  /** What a version that is only tried learned: it is kept aside, and nobody is told. */
  readonly candidate?: NewCandidate | undefined;
  /** The candidate that holds for this version too. */
  readonly confirmedCandidate?: CandidateKey | undefined;
  /** The pipeline whose stored output holds for this version too. */
  readonly confirmed?: Pipeline | undefined;
  /** The events that tell of it, given whom the entity's text spoke of before. */
  readonly events: (spokenOf: readonly Mention[]) => readonly Routable[];
};

/** An ending that takes nothing back: its run is over, or waits for a person. */
export type Settling = Ended<Ends<"answered" | "duplicate" | "waiting" | "cancelled">>;

/** Why a run ends as cancelled where what it is about was deleted. */
export const gone = "its entity was deleted";

/** What a call weighs, in characters of JSON. */
const callWeight = 500;

export function settled(settling: Settling): Settled {
  const { calls } = settling;
  const { weight, ...of } = withoutCalls(settling);
  return { ...of, calls, weight: weight + callWeight * calls.length };
}

type Bare = Omit<Settled, "calls">;

function withoutCalls({ ending, ...ended }: Settling): Bare {
  const { run, usage, entity } = ended;
  const held = { lease: run, usage };
  switch (ending.kind) {
    case "answered":
      return entity ? settledAnswer({ ...ended, entity, ending }) : quiet(run, cancelled(gone));
    case "duplicate":
      return entity ? settledDuplicate({ ...ended, entity, ending }) : quiet(run, cancelled(gone));
    case "waiting":
      return entity ? settledQuestions({ ...ended, entity, ending }) : quiet(run, cancelled(gone));
    case "cancelled":
      return quiet(run, cancelled(ending.reason));
  }

  function cancelled(reason: string): RunEnd {
    return { ...held, status: "cancelled", reason };
  }
}

function quiet(run: ClaimedRun, end: RunEnd): Bare {
  return { run, end, weight: 0 };
}

type Of<How extends "answered" | "duplicate" | "waiting"> = Ended<Ends<How>> & { readonly entity: Entity };

/** What it asks is told to whoever can bring it before people. */
function settledQuestions({ run, entity, ending, usage }: Of<"waiting">): Bare {
  const { questions } = ending;
  return {
    run,
    end: { status: "waiting", lease: run, question: questions[0]?.question, usage },
    weight: JSON.stringify(questions).length,
    news: { entity, events: () => [waitingEvent(entity, run)] },
    questions,
  };
}

/** An answer goes where its pipeline's answers belong, and is told of. */
function settledAnswer({ run, pipeline, entity, ending, usage }: Of<"answered">): Bare {
  const { stamp, answer } = ending;
  const outcome = pipeline.outcome(answer);
  const { events, ...output } = storableJson(answer);
  const made = { key: entity, source_version: entity.version, stamp, run_id: run.id };
  const told = graphEvents(entity, events);
  const enrichment = () => enrichmentOf(outcome, { ...made, pipeline: pipeline.name, output });
  return {
    run,
    end: { status: "success", lease: run, outcome, stamp, usage },
    weight: JSON.stringify(output).length,
    news: { entity, ...newsOf() },
  };

  function newsOf(): Omit<News, "entity"> {
    if (isTried({ run, pipeline })) return { candidate: candidateOf(enrichment(), events), events: () => [] };
    if (isIngestion(pipeline))
      return {
        document: documentRows({ ...made, pipeline, answer: Ingested.parse(output) }),
        events: (spokenOf) => [ingestedEvent(entity, [...spokenOf, ...mentionsIn(output)]), ...told],
      };
    return {
      enrichment: enrichment(),
      events: () => [enrichedEvent(entity, pipeline.name, outcome), ...told],
    };
  }
}

function enrichmentOf(
  outcome: Outcome,
  enrichment: Omit<NewEnrichment, "outcome">,
): NewEnrichment | undefined {
  return outcome === "eval_rejected" ? undefined : { ...enrichment, outcome };
}

/** Is it a run of a version that is only tried? */
export function isTried({ run, pipeline }: Pick<Settling, "run" | "pipeline">): boolean {
  return run.pipeline !== pipeline.name;
}

function candidateOf(enrichment: NewEnrichment | undefined, events: unknown): NewCandidate | undefined {
  return enrichment && { ...enrichment, events: Emitted.array().default([]).parse(events) };
}

/** Nothing has changed: nothing is stored. An ingested version is still a fact that enrichers may wait for. */
function settledDuplicate({ run, pipeline, entity, ending, usage }: Of<"duplicate">): Bare {
  const events = isIngestion(pipeline) ? [ingestedEvent(entity, [])] : [];
  const candidate = { key: entity, pipeline: pipeline.name, pipeline_version: pipeline.version };
  return {
    run,
    end: { status: "success", lease: run, outcome: "duplicate_skipped", stamp: ending.stamp, usage },
    weight: 0,
    news: isTried({ run, pipeline })
      ? { entity, confirmedCandidate: candidate, events: () => [] }
      : { entity, confirmed: pipeline, events: () => events },
  };
}

function isIngestion(pipeline: Pipeline): pipeline is IngestionPipeline {
  return pipeline.kind === "ingestion";
}
