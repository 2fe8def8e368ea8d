import { styleText } from "node:util";
import { brief, dollars } from "../output.ts";
import type { CharacterTraits, DemoReport, SceneMood } from "./report.ts";

/** The demo's report for people: what was ingested, how each scene feels, what each character is like, what it cost. */
export function reportText(report: DemoReport): string {
  const { entities, scenes, characters } = report;
  const width = Math.max(...scenes.map(({ title }) => title.length), 10);
  return [
    heading("What went in"),
    entities.map(({ source_type, entities }) => `${entities} ${source_type}`).join(", "),
    heading("How each scene feels, exchange by exchange"),
    ...scenes.map((scene) => sceneText(scene, width)),
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

function sceneText({ title, mood, evidence, exchanges, reason }: SceneMood, width: number): string {
  if (mood === null) return `  ${title.padEnd(width)}  ${styleText("dim", reason ?? "nobody speaks")}`;
  const curve = exchanges.map(({ valence }) => height(valence)).join("");
  const quote = evidence === "" ? "" : styleText("dim", brief(evidence, 60));
  return `  ${title.padEnd(width)}  ${curve.padEnd(8)}  ${mood.padEnd(9)}  ${quote}`;
}

const heights = "▁▂▃▄▅▆▇█";

/** −1 is the lowest bar, 1 the highest. */
function height(valence: number): string {
  return heights[Math.min(heights.length - 1, Math.floor(((valence + 1) / 2) * heights.length))] ?? "▄";
}

function characterText({ name, traits, reason }: CharacterTraits): string {
  if (traits.length === 0)
    return `  ${name}\n    ${styleText("dim", reason ?? "no trait is written anywhere")}`;
  const rows = traits.slice(0, 4).map(({ trait, line, from }) => {
    const where = from === "" || from === name ? "" : ` (${from})`;
    return `    ${trait.padEnd(14)}  ${styleText("dim", `${brief(line, 80 - where.length)}${where}`)}`;
  });
  return [`  ${name}`, ...rows].join("\n");
}

function costText({ used, models, seconds }: DemoReport): string {
  const took = `${used.runs} runs in ${seconds.toFixed(1)} s`;
  const failed =
    used.failed > 0 ? `, ${styleText("red", `${used.failed} failed: see \`npx loregraph status\``)}` : "";
  const calls = `${used.model_calls} model calls, ${used.embedding_calls} embedding calls, ${used.tokens} tokens, ${dollars(used.cost_usd)}`;
  const idle = used.model_calls + used.embedding_calls === 0;
  return [
    `  ${took}${failed}`,
    `  ${idle ? "nothing had changed since the last time: no model or embedding call was made" : calls}`,
    models.local
      ? `  models: local (${models.embeddings}, and word rules for English). They read less than a language model does;\n  set OPENAI_API_KEY or OPENAI_BASE_URL to use one.`
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
