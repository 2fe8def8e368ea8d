import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { Settings } from "../src/config.ts";
import type { Pipeline, Tools } from "../src/pipeline.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string) => readFile(join(root, file), "utf8");

test("the pipeline in the README runs as it stands", async () => {
  const [, code = ""] = /```ts\n([\s\S]*?)```/.exec(await read("README.md")) ?? [];
  const folder = await mkdtemp(join(tmpdir(), "loregraph-readme-"));
  try {
    const file = join(folder, "pipeline.ts");
    const here = (name: string) => pathToFileURL(resolve(root, name)).href;
    const packages = {
      langgraph: import.meta.resolve("@langchain/langgraph"),
      zod: import.meta.resolve("zod"),
    };
    await writeFile(
      file,
      code
        .replace('"../../src/pipeline.ts"', JSON.stringify(here("src/pipeline.ts")))
        .replace('"@langchain/langgraph"', JSON.stringify(packages.langgraph))
        .replace('"zod"', JSON.stringify(packages.zod)),
    );
    const { default: pipeline }: { default: Pipeline } = await import(pathToFileURL(file).href);
    const answer = await pipeline
      .graph({} as Tools)
      .compile()
      .invoke({
        tenant_id: "3f0b1c52-8a57-4c9f-9d9e-0c8d5f1b7a01",
        source_type: "scene",
        source_id: "3f0b1c52-8a57-4c9f-9d9e-0c8d5f1b7a02",
        version: 1,
        title: "The Weir",
        text: "She shut the gate. It rained all night. Nobody slept.",
        metadata: {},
      });

    expect(pipeline.output.parse(answer)).toEqual({ rains: true, evidence: " It rained all night." });
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("the README lists every setting with its default", async () => {
  const rows = [...(await read("README.md")).matchAll(/^\| (`[A-Z_`, ]+`) \|(.*?)\|/gm)];
  const listed = rows.flatMap(([, names = "", value = ""]) =>
    names.split(", ").map((name) => [name.replaceAll("`", ""), value.replaceAll("`", "").trim()]),
  );
  const defaults = Settings.parse({});

  expect(Object.fromEntries(listed)).toEqual(
    Object.fromEntries(
      Object.keys(Settings.shape).map((name) => [
        name,
        String(defaults[name as keyof typeof defaults] ?? ""),
      ]),
    ),
  );
});

test("links between the project's own pages lead somewhere", async () => {
  const pages = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/architecture.md",
    "docs/cli.md",
    "docs/benchmarks.md",
    "docs/http.md",
    "docs/quality.md",
    "docs/errors.md",
    "docs/eval.md",
    "docs/studio.md",
    "docs/webhooks.md",
    "docs/main-service.md",
    "docs/reingest.md",
    "docs/versions.md",
  ];
  for (const page of pages) {
    const links = [...(await read(page)).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link = ""]) => link);
    for (const link of links)
      expect(existsSync(resolve(root, dirname(page), link)), `${page}: ${link}`).toBe(true);
  }
});
