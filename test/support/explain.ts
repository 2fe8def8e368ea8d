import pg from "pg";
import { z } from "zod";
import type { Pool } from "../../src/db.ts";
import { poolDoing } from "./asking.ts";

type Node = {
  readonly "Node Type": string;
  readonly "Relation Name"?: string | undefined;
  readonly "Index Name"?: string | undefined;
  readonly "Actual Rows": number;
  readonly "Actual Loops": number;
  readonly "Rows Removed by Filter"?: number | undefined;
  readonly "Shared Hit Blocks": number;
  readonly "Shared Read Blocks": number;
  readonly Plans?: readonly Node[] | undefined;
};

const Node: z.ZodType<Node> = z.object({
  "Node Type": z.string(),
  "Relation Name": z.string().optional(),
  "Index Name": z.string().optional(),
  "Actual Rows": z.number(),
  "Actual Loops": z.number(),
  "Rows Removed by Filter": z.number().optional(),
  "Shared Hit Blocks": z.number(),
  "Shared Read Blocks": z.number(),
  get Plans() {
    return z.array(Node).optional();
  },
});

const Explained = z.object({
  "QUERY PLAN": z.tuple([z.object({ Plan: Node, "Planning Time": z.number() })]),
});

export type Explanation = {
  /** The pages that it read, of tables and indexes, whether or not they were in memory. */
  readonly pages: number;
  /** How each table of that name was read: `Index Scan pending_lanes`, for example. */
  readonly scans: (table: string) => readonly string[];
  /** The rows that were read of a table, also those that were thrown away. */
  readonly rows: (table: string) => number;
};

/** A pool whose connections explain each prepared statement of that name, as it is planned there, before they run it. */
export function explaining(pool: Pool, name: string): { readonly pool: Pool; readonly found: Explanation[] } {
  const found: Explanation[] = [];
  const asking = poolDoing(pool, async (client, statement) => {
    if (typeof statement !== "string" && statement.name === name)
      found.push(await explain(client, statement));
  });
  return { pool: asking, found };
}

/** Runs it twice, and takes both back: the first time makes the plan that the second one shows. */
async function explain(client: pg.ClientBase, statement: pg.QueryConfig<unknown[]>): Promise<Explanation> {
  await client.query("savepoint before");
  await client.query(statement);
  await client.query("rollback to before");
  const values = (statement.values ?? []).map(literal).join(", ");
  const { rows } = await client.query(
    `explain (analyze, buffers, timing off, format json) execute ${pg.escapeIdentifier(statement.name ?? "")} (${values})`,
  );
  await client.query("rollback to before");
  return explanationOf(Explained.parse(rows[0])["QUERY PLAN"][0].Plan);
}

function explanationOf(plan: Node): Explanation {
  const nodes = nodesOf(plan);
  const of = (table: string) =>
    nodes.filter((node) => node["Relation Name"] === table && /Scan/.test(node["Node Type"]));
  return {
    pages: plan["Shared Hit Blocks"] + plan["Shared Read Blocks"],
    scans: (table) => of(table).map((node) => `${node["Node Type"]} ${node["Index Name"] ?? ""}`.trim()),
    rows: (table) =>
      of(table).reduce(
        (sum, node) =>
          sum + (node["Actual Rows"] + (node["Rows Removed by Filter"] ?? 0)) * node["Actual Loops"],
        0,
      ),
  };
}

function nodesOf(node: Node): readonly Node[] {
  return [node, ...(node.Plans ?? []).flatMap(nodesOf)];
}

function literal(value: unknown): string {
  if (Array.isArray(value))
    return pg.escapeLiteral(`{${value.map((each) => JSON.stringify(each)).join(",")}}`);
  return typeof value === "number" ? String(value) : pg.escapeLiteral(String(value));
}
