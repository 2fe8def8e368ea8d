import type { Reader } from "../../pipeline.ts";

/** A reader that tells, once for each way to read, that nothing was found. */
export function notingReader(read: Reader, tell: (what: string) => void): Reader {
  const said = new Set<string>();
  const note = (what: string, empty: boolean) => {
    if (empty && !said.has(what)) tell(what);
    if (empty) said.add(what);
  };
  return {
    async passages(names, limit) {
      const found = await read.passages(names, limit);
      note("read.passages", found.length === 0);
      return found;
    },
    async mentioned(text) {
      const found = await read.mentioned(text);
      note("read.mentioned", found.length === 0);
      return found;
    },
    async previous() {
      const found = await read.previous();
      note("read.previous", found === undefined);
      return found;
    },
    async enrichment(pipeline) {
      const found = await read.enrichment(pipeline);
      note("read.enrichment", found === undefined);
      return found;
    },
  };
}
