import { expect, test } from "vitest";
import { type Drawable, svgOf } from "../../src/cli/svg/draw.ts";

type Box = { readonly x: number; readonly y: number; readonly width: number; readonly height: number };

const boxesOf = (svg: string): readonly Box[] =>
  [...svg.matchAll(/<rect x="([\d.-]+)" y="([\d.]+)" width="([\d.]+)" height="([\d.]+)"/g)].map(
    ([, x, y, width, height]) => ({
      x: Number(x),
      y: Number(y),
      width: Number(width),
      height: Number(height),
    }),
  );

const overlap = (a: Box, b: Box) =>
  a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;

function drawing(edges: readonly string[], labels: Readonly<Record<string, string>> = {}): Drawable {
  const parsed = edges.map((edge) => {
    const [, source = "", line = "", label, target = ""] = /^(\w+) (-|\.)(?:(.+))?> (\w+)$/.exec(edge) ?? [];
    return { source, target, label, isConditional: line === "." };
  });
  const ids = new Set(parsed.flatMap(({ source, target }) => [source, target]));
  return { nodes: new Map([...ids].map((id) => [id, labels[id] ?? id])), edges: parsed };
}

test.each([
  ["a line", ["a -> b", "b -> c"]],
  ["a branch", ["a .yes> b", "a .no> c", "b -> d", "c -> d"]],
  ["a loop", ["a -> b", "b .again> a", "b -> c", "c .> c"]],
  ["a long way past others", ["a -> b", "b -> c", "c -> d", "a .> d", "a -> e", "e -> d"]],
  ["many side by side", ["a -> b", "a -> c", "a -> d", "a -> e", "b -> f", "c -> f", "d -> f", "e -> f"]],
])("%s has each box once, none over another, all within the page, and each arrow", (_, edges) => {
  const graph = drawing(edges);
  const svg = svgOf(graph);
  const boxes = boxesOf(svg);
  const [, width, height] = (/viewBox="0 0 ([\d.]+) ([\d.]+)"/.exec(svg) ?? []).map(Number);

  expect(boxes).toHaveLength(graph.nodes.size);
  for (const [nth, box] of boxes.entries()) {
    expect(boxes.slice(nth + 1).filter((other) => overlap(box, other))).toEqual([]);
    expect(box.x).toBeGreaterThanOrEqual(0);
    expect(box.x + box.width).toBeLessThanOrEqual(width ?? 0);
    expect(box.y + box.height).toBeLessThanOrEqual(height ?? 0);
  }
  expect(svg.match(/marker-(start|end)="url/g)).toHaveLength(edges.length);
  expect(svg.match(/class="conditional"/g) ?? []).toHaveLength(
    edges.filter((edge) => edge.includes(".")).length,
  );
});

test("boxes stand below those that lead to them", () => {
  const svg = svgOf(drawing(["a -> b", "b -> c", "a -> c"]));
  const [a, b, c] = boxesOf(svg);

  expect(a?.y).toBeLessThan(b?.y ?? 0);
  expect(b?.y).toBeLessThan(c?.y ?? 0);
});

test("labels are text, whatever they hold", () => {
  const svg = svgOf(drawing(['a .<b&"c">> b'], { a: "<script>alert(1)</script>", b: "b & b" }));

  expect(svg).not.toContain("<script>");
  expect(svg).toContain("&lt;script&gt;alert(1)&lt;/script&gt;");
  expect(svg).toContain("b &amp; b");
  expect(svg).toContain("&lt;b&amp;&quot;c&quot;&gt;");
});

test("it can be read in the light and in the dark", () => {
  expect(svgOf(drawing(["a -> b"]))).toContain("@media (prefers-color-scheme: dark)");
});
