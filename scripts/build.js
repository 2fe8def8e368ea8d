/** Builds dist/: JavaScript and types of the runtime and its graphs, and the langgraph.json that names them there. */
import { spawnSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(dirname(dirname(fileURLToPath(import.meta.url))));
rmSync("dist", { recursive: true, force: true });
const { status } = spawnSync("tsc", ["-p", "tsconfig.build.json"], {
  stdio: "inherit",
  shell: process.platform === "win32",
});
if (status !== 0) process.exit(1);
writeFileSync("dist/langgraph.json", readFileSync("langgraph.json", "utf8").replaceAll(".ts:", ".js:"));
