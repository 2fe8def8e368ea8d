import { z } from "zod";
import { LoregraphError } from "../../errors.ts";
import { acceptEntities, removeEntities } from "../../intake.ts";
import { SourceType } from "../../pipeline.ts";
import { Change, ListedEntity, listEntities, type NewEntity, type Upserted } from "../../store/entities.ts";
import { EntityView, viewEntity } from "../../store/entity-view.ts";
import { pageOf, readCursor } from "../cursor.ts";
import { found } from "../problem.ts";
import type { App, Services } from "../services.ts";
import { Id, OfEntity, OfTenant, Page, PageQuery, shown, Text, Time } from "../shapes.ts";

const EntityKey = z.strictObject({ source_type: SourceType, source_id: Id });
type EntityKey = z.infer<typeof EntityKey>;

/** Deeper than anybody nests on purpose, and less than what Postgres and a recursive walk can bear. */
const deepest = 100;

/** In UTF-16 code units of JSON. It goes with every event and stands in every list: what is long is text. */
const longestMetadata = 65_536;

const GivenMetadata = z
  .record(z.string(), z.unknown())
  .refine((metadata) => isNestedAtMost(deepest, metadata), {
    error: `expected at most ${deepest} levels`,
    abort: true,
  })
  .refine((metadata) => JSON.stringify(metadata).length <= longestMetadata, {
    error: `expected at most ${longestMetadata} characters of JSON`,
    abort: true,
  })
  // Postgres indexes it, and an index takes no long texts.
  .refine(({ parent_id = "" }) => JSON.stringify(parent_id).length <= 500, "expected a shorter parent_id");

const Content = z.strictObject({
  title: z.string().max(1_000).default(""),
  text: z.string().default(""),
  metadata: GivenMetadata.default({}),
});

const Source = Text.min(1).max(100).default("api").describe("Who gives it");

const most = 500;

const NewEntities = z.strictObject({
  source: Source,
  entities: z
    .array(z.strictObject({ ...EntityKey.shape, ...Content.shape }))
    .min(1)
    .max(most),
});

const Accepted = z
  .object({
    source_type: SourceType,
    source_id: z.guid(),
    version: z.int(),
    change: Change.describe("`moved`: only its place has changed, which makes no version and no run"),
  })
  .meta({ id: "AcceptedEntity" });
type Accepted = z.infer<typeof Accepted>;

const Listed = ListedEntity.extend({ created_at: Time, changed_at: Time }).meta({ id: "ListedEntity" });

/** A tenant's content: what it was given, what was made of it, and what is still to be made. */
export function entityRoutes(app: App, services: Services): void {
  pushRoutes(app, services);
  readRoutes(app, services);
  deleteRoutes(app, services);
}

function pushRoutes(app: App, { pool, registry, maxTextChars = 2_000_000 }: Services): void {
  const accept = async (tenant_id: string, source: string, entities: readonly NewEntity[]) => {
    assertEachOnce(entities);
    assertShort(entities, maxTextChars);
    return inOrder(entities, await acceptEntities(pool, registry, { tenant_id, source, entities }));
  };

  app.put(
    "/tenants/:tenant_id/entities",
    {
      config: { scope: "write" },
      schema: {
        summary: "Make or change entities",
        description: "All or none are taken. What is new or has changed is ingested and enriched.",
        tags: ["entities"],
        params: OfTenant,
        body: NewEntities,
        response: {
          200: z.object({ items: z.array(Accepted).describe("In the order in which they were given") }),
        },
      },
    },
    async ({ params: { tenant_id }, body: { source, entities } }) => ({
      items: await accept(tenant_id, source, entities),
    }),
  );

  app.put(
    "/tenants/:tenant_id/entities/:source_type/:source_id",
    {
      config: { scope: "write" },
      schema: {
        summary: "Make or change an entity",
        tags: ["entities"],
        params: OfEntity,
        body: Content.extend({ source: Source }),
        response: { 200: Accepted },
      },
    },
    async ({ params: { tenant_id, ...key }, body: { source, ...content } }) => {
      const [accepted] = await accept(tenant_id, source, [{ ...key, ...content }]);
      return found(accepted, "entity");
    },
  );
}

/** Throws INPUT_INVALID, naming those that are given twice: which one would count is anybody's guess. */
function assertEachOnce(keys: readonly EntityKey[]): void {
  const groups = Map.groupBy(keys, named);
  const twice = [...groups].filter(([, { length }]) => length > 1).map(([name]) => name);
  if (twice.length === 0) return;
  throw new LoregraphError("INPUT_INVALID", `expected each entity once, got again: ${twice.join(", ")}`);
}

function assertShort(entities: readonly NewEntity[], maxTextChars: number): void {
  const long = entities.find(({ text }) => text.length > maxTextChars);
  if (long === undefined) return;
  const message = `the text of ${named(long)}: expected at most ${maxTextChars} characters, got: ${long.text.length}`;
  throw new LoregraphError("INPUT_TOO_LARGE", message);
}

function named({ source_type, source_id }: EntityKey): string {
  return `${source_type} ${source_id}`;
}

function inOrder(given: readonly EntityKey[], upserted: readonly Upserted[]): Accepted[] {
  const accepted = new Map(upserted.map((entity) => [named(entity), entity]));
  return given.flatMap((key) => accepted.get(named(key)) ?? []);
}

function isNestedAtMost(levels: number, value: unknown): boolean {
  if (typeof value !== "object" || value === null) return true;
  return levels > 0 && Object.values(value).every((inner) => isNestedAtMost(levels - 1, inner));
}

const mostChunks = 200;

function readRoutes(app: App, { pool }: Services): void {
  app.get(
    "/tenants/:tenant_id/entities/:source_type/:source_id",
    {
      config: { scope: "read" },
      schema: {
        summary: "Show an entity with all that was made of it",
        tags: ["entities"],
        params: OfEntity,
        querystring: z.strictObject({
          chunks: z.stringbool().default(false).describe(`Show chunks, too, ${mostChunks} at most`),
          first_chunk: z.coerce
            .number()
            .int()
            .min(0)
            .max(2_147_483_647)
            .default(0)
            .describe("Where they begin"),
        }),
        response: { 200: EntityView.meta({ id: "Entity" }) },
      },
    },
    async ({ params, query: { chunks, first_chunk } }) => {
      const viewed = chunks ? { first: first_chunk, limit: mostChunks } : undefined;
      return found(await viewEntity(pool, params, viewed), named(params));
    },
  );

  app.get(
    "/tenants/:tenant_id/entities",
    {
      config: { scope: "read" },
      schema: {
        summary: "List entities by type and id, without their texts",
        tags: ["entities"],
        params: OfTenant,
        querystring: PageQuery.extend({ source_type: SourceType.optional() }),
        response: { 200: Page(Listed) },
      },
    },
    async ({ params: { tenant_id }, query: { cursor, limit, source_type } }) => {
      const after = readCursor(EntityKey, cursor);
      const listed = await listEntities(pool, tenant_id, { source_type, after, limit: limit + 1 });
      return shown(pageOf(listed, limit, ({ source_type, source_id }) => ({ source_type, source_id })));
    },
  );
}

function deleteRoutes(app: App, { pool, registry }: Services): void {
  app.delete(
    "/tenants/:tenant_id/entities/:source_type/:source_id",
    {
      config: { scope: "write" },
      schema: {
        summary: "Delete an entity with all that was made of it",
        tags: ["entities"],
        params: OfEntity,
        response: { 204: z.null() },
      },
    },
    async ({ params: { tenant_id, ...key } }, reply) => {
      const [deleted] = await removeEntities(pool, registry, tenant_id, [key]);
      found(deleted, named(key));
      return reply.code(204).send(null);
    },
  );

  app.post(
    "/tenants/:tenant_id/entities/delete",
    {
      config: { scope: "write" },
      schema: {
        summary: "Delete entities",
        tags: ["entities"],
        params: OfTenant,
        body: z.strictObject({ keys: z.array(EntityKey).min(1).max(most) }),
        response: {
          200: z.object({
            items: z.array(EntityKey.extend({ deleted: z.boolean().describe("Was it there?") })),
          }),
        },
      },
    },
    async ({ params: { tenant_id }, body: { keys } }) => {
      assertEachOnce(keys);
      const deleted = await removeEntities(pool, registry, tenant_id, keys);
      const names = new Set(deleted.map(named));
      return { items: keys.map((key) => ({ ...key, deleted: names.has(named(key)) })) };
    },
  );
}
