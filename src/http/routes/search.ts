import { z } from "zod";
import { SourceType } from "../../pipeline.ts";
import { searchChunks } from "../../store/search.ts";
import type { App, Services } from "../services.ts";
import { OfTenant, Text } from "../shapes.ts";

const Hit = z
  .object({
    source_type: SourceType,
    source_id: z.guid(),
    title: z.string(),
    path: z.string().describe("The headings under which it stands"),
    excerpt: z.string().describe("What stands around the words, which are «marked»"),
    start: z.int().describe("Where the chunk begins in the entity's text, in UTF-16 code units"),
    end: z.int(),
    rank: z.number(),
  })
  .meta({ id: "Hit" });

/** Full text over what base ingestion made of a tenant's content. */
export function searchRoutes(app: App, { pool }: Pick<Services, "pool">): void {
  app.get(
    "/tenants/:tenant_id/search",
    {
      config: { scope: "read" },
      schema: {
        summary: "Find words in a tenant's content, best first",
        description:
          'Words in "quotes" stand together, `or` is one or the other, `-` is without. Words of no weight find nothing.',
        tags: ["search"],
        params: OfTenant,
        querystring: z.strictObject({
          q: Text.max(1_000),
          limit: z.coerce.number().int().min(1).max(50).default(10),
        }),
        response: { 200: z.object({ items: z.array(Hit) }) },
      },
    },
    async ({ params: { tenant_id }, query: { q, limit } }) => ({
      items: [...(await searchChunks(pool, tenant_id, q, limit))],
    }),
  );
}
