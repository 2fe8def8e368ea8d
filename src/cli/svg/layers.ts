/** An arrow between two boxes, by their ids. */
export type Arrow = { readonly source: string; readonly target: string };

/** Boxes in layers from top to bottom, so that arrows lead down; those that lead back up are told by `isBack`. */
type Layers<Edge extends Arrow> = {
  /** What stands in each layer, from left to right: ids of boxes, and of bends, at which a long arrow passes by. */
  readonly rows: readonly (readonly string[])[];
  /** Each arrow with the bends that it passes, from above to below. */
  readonly paths: readonly {
    readonly edge: Edge;
    readonly through: readonly string[];
    readonly isBack: boolean;
  }[];
};

/** Lays boxes out in layers: each below all that lead to it, and near them. `nodes` in the order that is wanted. */
export function layered<Edge extends Arrow>(nodes: readonly string[], edges: readonly Edge[]): Layers<Edge> {
  const back = backEdges(nodes, edges);
  const down = edges.map((edge) => ({ edge, isBack: back.has(edge), ...ends(edge, back.has(edge)) }));
  const depth = depths(nodes, down);
  const at = (id: string) => depth.get(id) ?? 0;
  const paths = down.map(({ edge, isBack, upper, lower }, nth) => ({
    ...{ edge, isBack },
    through: [upper, ...range(at(upper) + 1, at(lower)).map((row) => bendId(nth, row)), lower],
  }));
  return { rows: ordered(rowsOf(nodes, at, paths), paths), paths };
}

const bendId = (nth: number, row: number) => `\0${nth} ${row}`;

/** Is it a bend of a long arrow, and no box? */
export const isBend = (id: string) => id.startsWith("\0");

function ends({ source, target }: Arrow, isBack: boolean) {
  return isBack ? { upper: target, lower: source } : { upper: source, lower: target };
}

const range = (from: number, to: number) =>
  Array.from({ length: Math.max(0, to - from) }, (_, nth) => from + nth);

/** The edges that close a cycle on a walk from the first box. */
function backEdges<Edge extends Arrow>(nodes: readonly string[], edges: readonly Edge[]): ReadonlySet<Edge> {
  const back = new Set<Edge>();
  const state = new Map<string, "open" | "done">();
  const walk = (id: string) => {
    state.set(id, "open");
    for (const edge of edges.filter(({ source }) => source === id)) {
      const seen = state.get(edge.target);
      if (seen === "open") back.add(edge);
      else if (seen === undefined) walk(edge.target);
    }
    state.set(id, "done");
  };
  for (const id of nodes) if (!state.has(id)) walk(id);
  return back;
}

/** How far below the top each box stands: one below the lowest that leads to it. */
function depths(
  nodes: readonly string[],
  down: readonly { upper: string; lower: string }[],
): ReadonlyMap<string, number> {
  const depth = new Map(nodes.map((id) => [id, 0]));
  for (let moved = true; moved; ) {
    moved = false;
    for (const { upper, lower } of down) {
      const least = (depth.get(upper) ?? 0) + 1;
      if (upper === lower || (depth.get(lower) ?? 0) >= least) continue;
      depth.set(lower, least);
      moved = true;
    }
  }
  return depth;
}

type Paths = readonly { readonly through: readonly string[] }[];

function rowsOf(
  nodes: readonly string[],
  at: (id: string) => number,
  paths: Paths,
): readonly (readonly string[])[] {
  const rows: string[][] = [];
  const put = (id: string, row: number) => {
    rows[row] ??= [];
    rows[row].push(id);
  };
  for (const id of nodes) put(id, at(id));
  for (const { through } of paths)
    for (const [nth, id] of through.entries()) if (isBend(id)) put(id, at(through[0] ?? "") + nth);
  return rows;
}

/** Each row is sorted by where its neighbours in the row before stand, once down and once up. */
function ordered(rows: readonly (readonly string[])[], paths: Paths): readonly (readonly string[])[] {
  const links = paths.flatMap(({ through }) =>
    through.slice(1).map((to, nth) => ({ from: through[nth] ?? "", to })),
  );
  const sorted = rows.map((row) => [...row]);
  const sort = (row: number, beside: number, others: (id: string) => readonly string[]) => {
    const place = new Map(sorted[beside]?.map((id, nth) => [id, nth]));
    const middle = (id: string) => mean(others(id).flatMap((other) => place.get(other) ?? []));
    const key = new Map(sorted[row]?.map((id, nth) => [id, middle(id) ?? nth]));
    sorted[row]?.sort((a, b) => (key.get(a) ?? 0) - (key.get(b) ?? 0));
  };
  for (let row = 1; row < sorted.length; row++)
    sort(row, row - 1, (id) => links.filter(({ to }) => to === id).map(({ from }) => from));
  for (let row = sorted.length - 2; row >= 0; row--)
    sort(row, row + 1, (id) => links.filter(({ from }) => from === id).map(({ to }) => to));
  return sorted;
}

function mean(values: readonly number[]): number | undefined {
  return values.length > 0 ? values.reduce((sum, value) => sum + value, 0) / values.length : undefined;
}
