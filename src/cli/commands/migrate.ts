import { readConfig } from "../../config.ts";
import { connectPostgres } from "../../postgres/connect.ts";
import { migrate } from "../../postgres/migrate.ts";
import { print } from "../output.ts";
import { newCommand } from "../program.ts";

export const command = () =>
  newCommand("migrate", "bring the database to the newest migration", "loregraph migrate").action(
    async ({ json }) => {
      const config = readConfig();
      const { url, release } = await connectPostgres(config);
      const waiting = () => process.stderr.write("another process is migrating: waiting for it\n");
      try {
        const applied = await migrate(url, { schema: config.schema, onWait: waiting });
        print({ applied }, json, () =>
          applied.length === 0 ? "nothing to do" : `applied ${applied.join(", ")}`,
        );
      } finally {
        await release();
      }
    },
  );
