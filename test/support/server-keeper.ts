/** Runs the embedded server of the tests, says its URL, and stops and deletes it when stdin ends. */
import { rm } from "node:fs/promises";
import { deleteServer, keepServer } from "../../src/postgres/embedded.ts";
import { freshHome } from "./postgres.ts";

const home = await freshHome();
const { url } = await keepServer(home);
process.stdin.resume().on("end", async () => {
  await deleteServer(home);
  await rm(home, { recursive: true });
});
process.stdout.write(`${url}\n`);
