import { openPool } from "../../src/db.ts";
import { startDeliverer } from "./webhooks.ts";

// A worker that delivers in a process of its own, to be killed: `killable-deliverer.ts <database url>`.

const [url = ""] = process.argv.slice(2);
startDeliverer({ pool: openPool(url), url }, {}, { leaseMs: 400 });
console.log("started");
