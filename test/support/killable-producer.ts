import { text } from "node:stream/consumers";
import pino from "pino";
import { defineIngestion } from "../../src/pipeline.ts";
import { Producer } from "../../src/reingest/producer.ts";

// A producer in a process of its own, to be killed: `killable-producer.ts <database url> <embedding model>` says
// "started". It runs no graph, so it loads none: most of its start would be that.

const base = defineIngestion({
  name: "base",
  version: 1,
  trigger: { on: "entity.changed" },
  graph: () => {
    throw new Error("a producer runs no graph");
  },
});

if (import.meta.main) {
  const [url = "", embeddingName = ""] = process.argv.slice(2);
  const context = {
    registry: new Map([[base.name, base]]),
    models: { chatName: undefined, embeddingName },
    schema: "loregraph",
    log: pino({ level: "silent" }),
  };
  const producer = new Producer(context, { url, pollMs: 20, pendingBound: Number.POSITIVE_INFINITY });
  producer.start();
  console.log("started");
  await text(process.stdin);
  await producer.stop();
}
