import type { LoregraphError } from "../../src/errors.ts";
import type { EntitySource } from "../../src/sources/entity-source.ts";
import type { NewEntity } from "../../src/store/entities.ts";

/** A service that has these scenes, and throws, before each page, what is next in `failures`. */
export function fakeSource(
  entities: readonly NewEntity[],
  failures: (LoregraphError | undefined)[] = [],
): EntitySource {
  const all = entities.toSorted((a, b) => a.source_id.localeCompare(b.source_id));
  return {
    name: "main-service",
    async listIds(_, type, cursor, limit) {
      const failure = failures.shift();
      if (failure) throw failure;
      const keys = all.filter(({ source_type }) => source_type === type);
      const [from, to] = [Number(cursor ?? 0), Number(cursor ?? 0) + limit];
      return { keys: keys.slice(from, to), next: to < keys.length ? String(to) : null, rejected: [] };
    },
    async fetchEntities(_, keys) {
      const asked = new Set(keys.map(({ source_id }) => source_id));
      return { entities: all.filter(({ source_id }) => asked.has(source_id)), missing: [], rejected: [] };
    },
    async changesSince() {
      throw new Error("a reingest asks for no changes");
    },
  };
}
