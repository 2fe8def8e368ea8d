import { once } from "node:events";
import { openPool } from "../../src/db.ts";
import { Worker } from "../../src/worker/worker.ts";
import { graphContext } from "../worker.ts";

// A worker in a process of its own: `process.ts <database url>` says "ready", begins when it is sent a line, and says
// "done" when nothing is left.

const [url = ""] = process.argv.slice(2);
const pool = openPool(url);
const worker = new Worker(graphContext(pool), { url, concurrency: 16 });
console.log("ready");
await once(process.stdin, "data");
worker.start();
await worker.untilDone();
console.log("done");
await worker.stop();
await pool.end();
process.stdin.destroy();
