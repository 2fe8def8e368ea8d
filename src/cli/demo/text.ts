import { styleText } from "node:util";
import { brief, dollars, wrapped } from "../output.ts";
import type { CharacterTraits, DemoReport, SceneMood, ShownTrait } from "./report.ts";

/** No line of the report is longer, in characters. */
const widest = 96;

/** The demo's report for people: what was ingested, how each scene feels, what each character is like, what it cost. */
export function reportText(report: DemoReport): string {
  const { scenes, characters } = report;
  return [
    heading("What went in"),
    wentIn(report),
    heading(`How each scene feels, exchange by exchange: ${height(-1)} is dark, ${height(1)} is bright`),
    ...scenes.map((scene) => sceneText(scene, columnsOf(scenes))),
    heading("What each character is like, and where it shows"),
    ...characters.map(characterText),
    heading("What it took"),
    costText(report),
    heading("Where to look next"),
    nextText(report),
  ].join("\n");
}

function heading(title: string): string {
  return `\n${styleText("bold", title)}`;
}

function wentIn({ entities }: DemoReport): string {
  const counts = entities.map(({ source_type, entities }) => `${entities} ${source_type}`);
  return wrapped(counts.join(", "), widest, "  ");
}

type Columns = { readonly title: number; readonly curve: number; readonly mood: number };

function columnsOf(scenes: readonly SceneMood[]): Columns {
  const longest = (of: (scene: SceneMood) => number) => Math.max(0, ...scenes.map(of));
  return {
    title: Math.min(
      30,
      longest(({ title }) => title.length),
    ),
    curve: Math.min(
      12,
      longest(({ exchanges }) => exchanges.length),
    ),
    mood: longest(({ mood }) => mood?.length ?? 0),
  };
}

function sceneText({ title, mood, evidence, exchanges, reason }: SceneMood, columns: Columns): string {
  const name = `  ${brief(title, columns.title).padEnd(columns.title)}  `;
  if (mood === null) return `${name}${styleText("dim", reason ?? "nobody speaks")}`;
  const curve = brief(exchanges.map(({ valence }) => height(valence)).join(""), columns.curve);
  const read = `${name}${curve.padEnd(columns.curve)}  ${mood.padEnd(columns.mood)}  `;
  return evidence === "" ? read.trimEnd() : `${read}${quoted(evidence, widest - read.length)}`;
}

const heights = "▁▂▃▄▅▆▇█";

/** −1 is the lowest bar, 1 the highest. */
function height(valence: number): string {
  return heights[Math.min(heights.length - 1, Math.floor(((valence + 1) / 2) * heights.length))] ?? "▄";
}

function quoted(text: string, length: number): string {
  return styleText("dim", `“${brief(text, length - 2)}”`);
}

/** Traits that one line shows stand together; what the story shows comes before what the sheet says. */
function characterText({ name, traits, reason }: CharacterTraits): string {
  const lines = [...Map.groupBy(traits, ({ line, from }) => `${from}\n${line}`).values()];
  const rows = lines.toSorted((a, b) => Number(isOnSheet(a)) - Number(isOnSheet(b))).map(traitsText);
  return [`  ${name}`, ...(rows.length > 0 ? rows : [nothingKnown(reason)])].join("\n");
}

function isOnSheet([first]: readonly ShownTrait[]): boolean {
  return first?.from === "";
}

function nothingKnown(reason: string | null): string {
  return `    ${styleText("dim", reason ?? "no trait is written anywhere")}`;
}

function traitsText(traits: readonly ShownTrait[]): string {
  const [{ line, from } = { line: "", from: "" }] = traits;
  const names = traits.map(({ trait }) => trait).join(", ");
  const where = from === "" ? "" : styleText("dim", `  ${brief(from, 28)}`);
  return `    ${brief(names, widest - 4)}\n      ${quoted(line, widest - (from === "" ? 6 : 36))}${where}`;
}

function costText({ used, models, seconds }: DemoReport): string {
  const took = `${used.runs} runs in ${seconds.toFixed(1)} s`;
  const failed =
    used.failed > 0 ? `, ${styleText("red", `${used.failed} failed: see \`npx loregraph status\``)}` : "";
  const calls = `${used.model_calls} model calls, ${used.embedding_calls} embedding calls, ${used.tokens} tokens, ${dollars(used.cost_usd)}`;
  const idle = used.runs === 0 && used.model_calls + used.embedding_calls === 0;
  return [
    `  ${took}${failed}`,
    `  ${idle ? "nothing had changed since the last time: no model or embedding call was made" : calls}`,
    models.local
      ? `  models: local (${models.embeddings}, and word rules for English), which read less than a\n  language model does; set OPENAI_API_KEY or OPENAI_BASE_URL to use one`
      : `  models: ${models.chat}, ${models.embeddings}`,
  ].join("\n");
}

function nextText({ scenes, tenant_id }: DemoReport): string {
  const scene = scenes[0]?.source_id ?? "<id>";
  return [
    `  npx loregraph show ${scene}`,
    `  npx loregraph search --tenant ${tenant_id} "the bell"`,
    `  npx loregraph status --tenant ${tenant_id}`,
    "  npx loregraph graph dialog-mood",
    "  npm run studio",
  ].join("\n");
}
