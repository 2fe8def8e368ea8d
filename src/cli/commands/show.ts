import type { Db } from "../../db.ts";
import { listRuns } from "../../ledger/read.ts";
import type { Entity } from "../../pipeline.ts";
import { readChunks, readDocument } from "../../store/documents.ts";
import { type Enrichment, enrichmentsOf } from "../../store/enrichments.ts";
import { childrenOf } from "../../store/entities.ts";
import { eventsOf } from "../../store/events.ts";
import { type Evidence, evidenceIn } from "../../store/evidence.ts";
import { ago, brief, print, table } from "../output.ts";
import { newCommand, tenantOption, uuid } from "../program.ts";
import { withSession } from "../session.ts";
import { theEntity } from "../the-entity.ts";

export const command = () =>
  newCommand(
    "show",
    "show an entity with all that is known of it",
    "loregraph show 0b7e6e55-6f0c-4d0a-8a52-0a3a5f0b7c11",
  )
    .argument("<entity>", "its id", uuid("the entity's id"))
    .addOption(tenantOption())
    .action(async (id, { tenant, json }) => {
      await withSession(async ({ pool }) =>
        print(await gather(pool, await theEntity(pool, id, tenant)), json, asText),
      );
    });

async function gather(db: Db, entity: Entity) {
  const [document, chunks, enrichments, events, children, runs] = await Promise.all([
    readDocument(db, entity),
    readChunks(db, entity),
    enrichmentsOf(db, entity),
    eventsOf(db, entity),
    childrenOf(db, entity.tenant_id, entity.source_id),
    listRuns(db, { tenant_id: entity.tenant_id, source_id: entity.source_id }),
  ]);
  const looked = enrichments.map(async (enrichment) => ({
    ...enrichment,
    evidence: await evidenceIn(db, entity, enrichment.output),
  }));
  const evident = await Promise.all(looked);
  return { entity, document: document ?? null, chunks, enrichments: evident, events, children, runs };
}

type Shown = Awaited<ReturnType<typeof gather>>;

function asText({ entity, document, chunks, enrichments, events, children, runs }: Shown): string {
  return [
    `${entity.source_type} ${entity.source_id}, version ${entity.version}, tenant ${entity.tenant_id}`,
    `${entity.title}\n${brief(entity.text, 300)}`,
    document
      ? `document: ${document.kind}, language ${document.language ?? "unknown"}, ${chunks.length} chunks by ${document.model}, ${ago(document.stored_at)} old`
      : "document: none yet",
    ...enrichments.map((enrichment) => enrichmentText(enrichment, entity)),
    ...(children.length > 0 ? [`children:\n${children.map(childText).join("\n")}`] : []),
    `events:\n${table(
      ["event", "version", "at"],
      events.map((e) => [e.event, e.version, e.occurred_at]),
    )}`,
    `runs:\n${table(
      ["pipeline", "ended", "attempts", "run"],
      runs.map((r) => [r.pipeline, r.outcome ?? r.status, r.attempt, r.id]),
    )}`,
  ].join("\n\n");
}

function childText({ source_type, source_id, title }: Entity): string {
  return `  ${source_type} ${source_id}  ${title}`;
}

type Evident = Enrichment & { readonly evidence: readonly Evidence[] };

/** The most lines of one enrichment. */
const most = 40;

function enrichmentText(
  { pipeline, outcome, model, pipeline_version, stored_at, output, evidence }: Evident,
  { source_id }: Entity,
): string {
  const head = `${pipeline} v${pipeline_version}, ${outcome}, by ${model}, ${ago(stored_at)} old`;
  const lines = JSON.stringify(output, null, 2).split("\n");
  const cut =
    lines.length > most
      ? [...lines.slice(0, most), `… ${lines.length - most} more lines; --json has all`]
      : lines;
  return [head, ...cut.map((line) => `  ${line}`), ...evidenceText(evidence, source_id)].join("\n");
}

/** The most places of evidence of one enrichment. */
const mostPlaces = 12;

/** Each sentence of evidence with where it stands, and marked in what stands around it. */
function evidenceText(evidence: readonly Evidence[], own: string): readonly string[] {
  if (evidence.length === 0) return [];
  const left = evidence.length - mostPlaces;
  return [
    "evidence:",
    ...evidence.slice(0, mostPlaces).map((each) => placeText(each, own)),
    ...(left > 0 ? [`  … ${left} more places; --json has all`] : []),
  ];
}

function placeText({ quote, stands, context, ...where }: Evidence, own: string): string {
  const { source_type, source_id, path, line, start, end } = where;
  const elsewhere = source_id === own ? [] : [`${source_type} ${source_id}`];
  const place = [`“${brief(quote)}”`, ...elsewhere, path, `line ${line}`, `characters ${start} to ${end}`];
  const head = `  ${place.filter(Boolean).join(", ")}`;
  return [
    head,
    stands ? `    ${context}` : "    it does not stand there any more: its text has changed",
  ].join("\n");
}
