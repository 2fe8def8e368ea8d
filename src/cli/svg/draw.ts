import { type Arrow, isBend, layered } from "./layers.ts";

export type Drawable = {
  /** Labels by id, in the order in which they are to stand. */
  readonly nodes: ReadonlyMap<string, string>;
  readonly edges: readonly (Arrow & {
    readonly label?: string | undefined;
    readonly isConditional: boolean;
  })[];
};

type Point = { readonly x: number; readonly y: number };

const box = {
  height: 36,
  gap: 28,
  rowGap: 64,
  padding: 18,
  perCharacter: 8.4,
  bend: 12,
  margin: 24,
} as const;

/**
 * Draws a graph as SVG, from top to bottom: conditional edges are dashed and bear their labels. It follows the reader's
 * light or dark colours, and needs no font and no script of its own.
 */
export function svgOf({ nodes, edges }: Drawable): string {
  const { rows, paths } = layered([...nodes.keys()], edges);
  const widthOf = (id: string) =>
    isBend(id) ? box.bend : (nodes.get(id) ?? id).length * box.perCharacter + 2 * box.padding;
  const widths = rows.map((row) => row.reduce((sum, id) => sum + widthOf(id) + box.gap, -box.gap));
  const width = Math.max(...widths) + 2 * box.margin;
  const height = rows.length * (box.height + box.rowGap) - box.rowGap + 2 * box.margin;
  const places = placed(rows, widths, widthOf, width);
  const drawn = [
    ...paths.map(({ edge, through, isBack }) =>
      edgeSvg(
        edge,
        through.map((id) => places.get(id)),
        isBack,
      ),
    ),
    ...[...nodes].map(([id, label]) => nodeSvg(label, places.get(id), widthOf(id))),
  ];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${round(width)} ${round(height)}" width="${round(width)}" height="${round(height)}">`,
    style,
    marker,
    ...drawn,
    "</svg>",
    "",
  ].join("\n");
}

const style = `<style>
  svg { background: #fff; color: #1b1f24; font: 14px ui-monospace, monospace; }
  rect { fill: #eef2f7; stroke: currentColor; } text { fill: currentColor; text-anchor: middle; }
  path { fill: none; stroke: currentColor; stroke-width: 1.4; } .conditional { stroke-dasharray: 5 4; }
  marker path { fill: currentColor; stroke: none; } .label { font-size: 12px; paint-order: stroke; stroke: #fff; stroke-width: 4px; }
  @media (prefers-color-scheme: dark) {
    svg { background: #14171b; color: #e6e9ed; } rect { fill: #232a33; } .label { stroke: #14171b; }
  }
</style>`;

const marker = `<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>`;

/** The middle of the upper edge of each box and bend. */
function placed(
  rows: readonly (readonly string[])[],
  widths: readonly number[],
  widthOf: (id: string) => number,
  width: number,
): ReadonlyMap<string, Point> {
  const places = new Map<string, Point>();
  for (const [nth, row] of rows.entries()) {
    let x = (width - (widths[nth] ?? 0)) / 2;
    for (const id of row) {
      places.set(id, { x: x + widthOf(id) / 2, y: box.margin + nth * (box.height + box.rowGap) });
      x += widthOf(id) + box.gap;
    }
  }
  return places;
}

function nodeSvg(label: string, at: Point = { x: 0, y: 0 }, width: number): string {
  const { x, y } = at;
  return `<g><rect x="${round(x - width / 2)}" y="${y}" width="${round(width)}" height="${box.height}" rx="8"/><text x="${round(x)}" y="${y + 23}">${escaped(label)}</text></g>`;
}

function edgeSvg(
  { label, isConditional }: Drawable["edges"][number],
  through: readonly (Point | undefined)[],
  isBack: boolean,
): string {
  const points = through.flatMap((point) => point ?? []);
  const [first = { x: 0, y: 0 }, ...rest] = points;
  let from = { x: first.x, y: first.y + box.height };
  const curves = rest.map((to, nth) => {
    const curve = curveTo(from, to);
    // A bend is passed straight down, as high as a box.
    from = { x: to.x, y: to.y + box.height };
    return nth < rest.length - 1 ? `${curve} V${from.y}` : curve;
  });
  const ends = isBack ? 'marker-start="url(#tip)"' : 'marker-end="url(#tip)"';
  const path = `<path d="M${round(first.x)} ${first.y + box.height} ${curves.join(" ")}" ${ends}${isConditional ? ' class="conditional"' : ""}/>`;
  return label ? path + labelSvg(label, points) : path;
}

function curveTo(from: Point, to: Point): string {
  const middle = round((from.y + to.y) / 2);
  return `C${round(from.x)} ${middle} ${round(to.x)} ${middle} ${round(to.x)} ${to.y}`;
}

function labelSvg(label: string, points: readonly Point[]): string {
  const nth = Math.max(1, points.length >> 1);
  const [a = { x: 0, y: 0 }, b = { x: 0, y: 0 }] = [points[nth - 1], points[nth]];
  const [x, y] = [(a.x + b.x) / 2, (a.y + box.height + b.y) / 2 + 4];
  return `<text class="label" x="${round(x)}" y="${round(y)}">${escaped(label)}</text>`;
}

const round = (value: number) => Math.round(value * 10) / 10;

const entities: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, (sign) => entities[sign] ?? "");
}
