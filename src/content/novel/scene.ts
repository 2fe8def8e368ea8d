import { withoutFences } from "../dialogue/fences.ts";
import { isBlank, type Span, trimmed } from "../span.ts";
import { fullTitle } from "./heading.ts";
import type { Outlined } from "./outline.ts";

/** `title` where a heading with words, or any of Markdown's, opens the scene. */
export type SceneSpan = Span & { readonly title?: string };

/** The scenes of a chapter: its text, cut at the headings of its sections and at `* * *`, `---`, `⁂`, `#` and the like. */
export function scenesOf(text: string, { bodies, sections }: Outlined): readonly SceneSpan[] {
  return bodies.flatMap((body) => {
    const inside = sections.filter(({ start }) => start >= body.start && start < body.end);
    const breaks: readonly Break[] = [...separators(text, body), ...inside.map(toBreak)];
    return between(
      body,
      breaks.toSorted((a, b) => a.start - b.start),
    )
      .filter((scene) => !isBlank(text, scene))
      .map((scene) => ({ ...scene, ...trimmed(text, scene) }));
  });
}

type Break = SceneSpan;

const separator = /^ *(?:\*(?: *\*)*|(?:[-–—_~=] *){3,}|[⁂※◆◇●○•·](?: *[⁂※◆◇●○•·])*|#(?: *#)*|§) *$/gm;

function separators(text: string, { start, end }: Span): readonly Break[] {
  return Array.from(withoutFences(text.slice(start, end)).matchAll(separator), (match) => ({
    start: start + match.index,
    end: start + match.index + match[0].length,
  }));
}

function toBreak(heading: Outlined["sections"][number]): Break {
  const { start, end } = heading;
  return heading.isMarked || /\p{L}{2}/u.test(fullTitle(heading).replace(/^[IVXLC]+$/, ""))
    ? { start, end, title: fullTitle(heading) }
    : { start, end };
}

function between(body: Span, breaks: readonly Break[]): readonly SceneSpan[] {
  const openings: readonly Break[] = [{ start: body.start, end: body.start }, ...breaks];
  return openings.map(({ end, title }, at) => ({
    start: end,
    end: Math.max(end, openings[at + 1]?.start ?? body.end),
    ...(title !== undefined && { title }),
  }));
}
