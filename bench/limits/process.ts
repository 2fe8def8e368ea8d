import { once } from "node:events";
import { openPool } from "../../src/db.ts";
import { limits } from "../../src/models/limits/limits.ts";
import { openModels } from "../../src/models/models.ts";
import { Worker } from "../../src/worker/worker.ts";
import { contextOf } from "../context.ts";
import { ask } from "./ask.ts";

// A worker in a process of its own: `process.ts <database url> <model url> <requests a minute, or nothing>` says "ready",
// begins when it is sent a line, and ends when it is sent another.

const [url = "", baseUrl = "", perMinute = ""] = process.argv.slice(2);
const pool = openPool(url);
const allowed = perMinute === "" ? {} : { requests_per_minute: Number(perMinute) };
const settings = {
  apiKey: "unused",
  baseUrl,
  chatModel: "double",
  embeddingModel: "none",
  timeoutMs: 30_000,
  prices: undefined,
};
const models = openModels(settings, {
  limits: limits({ db: pool, limitsOf: () => allowed, callMs: settings.timeoutMs }),
});
const worker = new Worker(contextOf(pool, [ask], models), { url, concurrency: 8, drainMs: 2_000 });
console.log("ready");
await once(process.stdin, "data");
worker.start();
await once(process.stdin, "data");
await worker.stop();
await pool.end();
process.stdin.destroy();
