/** A process that uses the embedded server of the home it is given, says its URL, and leaves when stdin ends. */
import { useServer } from "../../src/postgres/embedded.ts";

const [home = ""] = process.argv.slice(2);
const { url, release } = await useServer(home);
process.stdout.write(`${url}\n`);
process.stdin.resume().on("end", () => void release());
