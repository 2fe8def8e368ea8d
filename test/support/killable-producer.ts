import { text } from "node:stream/consumers";
import { openPool } from "../../src/db.ts";
import { Producer } from "../../src/reingest/producer.ts";
import { runtime } from "./runtime.ts";

// A producer in a process of its own, to be killed: `killable-producer.ts <database url>` says "started".

if (import.meta.main) {
  const [url = ""] = process.argv.slice(2);
  const pool = openPool(url);
  const producer = new Producer(runtime({ pool, url }), {
    url,
    pollMs: 20,
    pendingBound: Number.POSITIVE_INFINITY,
  });
  producer.start();
  console.log("started");
  await text(process.stdin);
  await producer.stop();
  await pool.end();
}
