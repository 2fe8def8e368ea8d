import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { Settings } from "../src/config.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (file: string) => readFile(join(root, file), "utf8");

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
    "docs/questions.md",
    "docs/reingest.md",
    "docs/tutorial.md",
    "docs/versions.md",
  ];
  for (const page of pages) {
    const links = [...(await read(page)).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link = ""]) => link);
    for (const link of links)
      expect(existsSync(resolve(root, dirname(page), link)), `${page}: ${link}`).toBe(true);
  }
});
