/** A process that migrates the database it is given, and says what it applied. */
import { migrate } from "../../src/postgres/migrate.ts";

const [url = ""] = process.argv.slice(2);
process.stdout.write(`${JSON.stringify(await migrate(url, { schema: "loregraph" }))}\n`);
