import { z } from "zod";
import { type Db, many } from "../db.ts";
import { SourceType } from "../pipeline.ts";
import type { EntityKey } from "./entities.ts";

const Span = z.object({ start: z.int().nonnegative(), end: z.int().nonnegative() });
const Own = z.object({ evidence: z.string(), evidence_at: Span });
const Elsewhere = Span.extend({ quote: z.string(), source_type: SourceType, source_id: z.guid() });

/** What an output says where its evidence stands. Offsets are UTF-16 code units into the entity's text, end exclusive. */
type Claim = z.infer<typeof Elsewhere> & {
  /** Where in the output it is named: `traits[0].evidence[1]`. */
  readonly at: string;
};

/** Evidence, and what stands where it is said to stand. */
export type Evidence = Claim & {
  /** Does the text say so there, still? It may have changed, or gone, since. */
  readonly stands: boolean;
  readonly title: string;
  /** The headings that it stands under, as far as the entity was cut into chunks. */
  readonly path: string;
  /** Counted from 1, the column in UTF-16 code units. */
  readonly line: number;
  readonly column: number;
  /** What stands around it on the page, with it «marked». */
  readonly context: string;
};

/** How much of one output is looked up, so that no output makes a look at it slow. */
const most = 500;

/** All evidence that an output about an entity names, in its order, up to the first 500, each looked up in its text. */
export async function evidenceIn(db: Db, about: EntityKey, output: unknown): Promise<readonly Evidence[]> {
  const claims = claimsIn(output, about, "").slice(0, most);
  if (claims.length === 0) return [];
  const [texts, paths] = await Promise.all([textsOf(db, about, claims), pathsOf(db, about, claims)]);
  return claims.map((claim, nth) => located(claim, texts.get(keyOf(claim)), paths[nth] ?? ""));
}

/** An output names evidence by `evidence` and `evidence_at`, in its own entity, or by a quote and where that stands. */
function claimsIn(value: unknown, about: EntityKey, at: string): readonly Claim[] {
  if (typeof value !== "object" || value === null) return [];
  const elsewhere = Elsewhere.safeParse(value).data;
  if (elsewhere) return [{ ...elsewhere, at }];
  const own = Own.safeParse(value).data;
  const found = own ? [ownClaim(own, about, at)] : [];
  const inner = Object.entries(value).flatMap(([key, each]) =>
    claimsIn(each, about, Array.isArray(value) ? `${at}[${key}]` : at === "" ? key : `${at}.${key}`),
  );
  return [...found, ...inner];
}

function ownClaim({ evidence, evidence_at }: z.infer<typeof Own>, about: EntityKey, at: string): Claim {
  const source_type = SourceType.parse(about.source_type);
  const where = at === "" ? "evidence" : `${at}.evidence`;
  return { at: where, quote: evidence, source_type, source_id: about.source_id, ...evidence_at };
}

type Place = Pick<Claim, "source_type" | "source_id">;
const keyOf = ({ source_type, source_id }: Place) => `${source_type} ${source_id}`;

const Text = z.object({ source_type: SourceType, source_id: z.guid(), title: z.string(), text: z.string() });

async function textsOf(
  db: Db,
  { tenant_id }: EntityKey,
  claims: readonly Claim[],
): Promise<ReadonlyMap<string, z.infer<typeof Text>>> {
  const rows = await many(db, Text, textsSql, [tenant_id, ...columnsOf(claims)]);
  return new Map(rows.map((row) => [keyOf(row), row]));
}

const columnsOf = (claims: readonly Claim[]) =>
  [claims.map((claim) => claim.source_type), claims.map((claim) => claim.source_id)] as const;

const textsSql = `
  select source_type, source_id, title, text from entities
  where tenant_id = $1 and (source_type, source_id) in (select * from unnest($2::text[], $3::uuid[]))`;

const Path = z.object({ path: z.string().nullable() });

async function pathsOf(
  db: Db,
  { tenant_id }: EntityKey,
  claims: readonly Claim[],
): Promise<readonly string[]> {
  const starts = claims.map(({ start }) => start);
  const rows = await many(db, Path, pathsSql, [tenant_id, ...columnsOf(claims), starts]);
  return rows.map(({ path }) => path ?? "");
}

const pathsSql = `
  select (
    select path from chunks
    where tenant_id = $1 and source_type = asked.source_type and source_id = asked.source_id
      and start_offset <= asked.start_offset
    order by start_offset desc limit 1
  ) as path
  from unnest($2::text[], $3::uuid[], $4::integer[]) with ordinality
    as asked (source_type, source_id, start_offset, nth)
  order by nth`;

function located(claim: Claim, entity: z.infer<typeof Text> | undefined, path: string): Evidence {
  const { text = "", title = "" } = entity ?? {};
  const stands = entity !== undefined && text.slice(claim.start, claim.end) === claim.quote;
  const before = text.slice(0, claim.start);
  return {
    ...{ ...claim, stands, title, path },
    line: before.split("\n").length,
    column: claim.start - before.lastIndexOf("\n"),
    context: stands ? contextOf(text, claim) : "",
  };
}

/** How much is shown on either side, in UTF-16 code units. */
const around = 80;

/** On one line, without the halves of words at its edges. */
function contextOf(text: string, { start, end }: Claim): string {
  const before = text.slice(Math.max(0, start - around), start);
  const after = text.slice(end, end + around);
  const left = start > around ? before.replace(/^\S*\s/, "… ") : before;
  const right = end + around < text.length ? after.replace(/\s\S*$/, " …") : after;
  return `${left}«${text.slice(start, end)}»${right}`.replace(/\s+/g, " ").trim();
}
