import { createInterface } from "node:readline/promises";
import { Command } from "@commander-js/extra-typings";
import { readConfig } from "../../config.ts";
import { LoregraphError } from "../../errors.ts";
import { psqlDatabase, resetDatabase, startDatabase, stopDatabase } from "../db.ts";
import { print } from "../output.ts";
import { exampleText, newCommand } from "../program.ts";

export const command = () =>
  new Command("db")
    .description("start, stop, open or reset the database")
    .addHelpText("after", exampleText("loregraph db psql -- -c 'select count(*) from entities'"))
    .addCommand(start())
    .addCommand(stop())
    .addCommand(psql())
    .addCommand(reset());

const start = () =>
  newCommand("start", "start the embedded Postgres and let it run", "loregraph db start").action(
    async ({ json }) => say(await startDatabase(readConfig()), json),
  );

const stop = () =>
  newCommand("stop", "stop the embedded Postgres", "loregraph db stop").action(async ({ json }) =>
    say(await stopDatabase(readConfig()), json),
  );

const psql = () =>
  newCommand("psql", "open psql on the database; arguments go to psql", "loregraph db psql -- -c 'select 1'")
    .argument("[args...]", "what psql is given")
    .allowUnknownOption()
    .action(async (args) => {
      process.exitCode = await psqlDatabase(readConfig(), args);
    });

const reset = () =>
  newCommand("reset", "delete everything that Loregraph has stored", "loregraph db reset --yes")
    .option("--yes", "do not ask")
    .action(async ({ json, yes }) => {
      if (!yes && !(await confirmed()))
        throw new LoregraphError("INPUT_INVALID", "not confirmed: nothing was deleted");
      say(await resetDatabase(readConfig()), json);
    });

async function confirmed(): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const asking = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return (await asking.question("Delete everything that Loregraph has stored? Type yes: ")) === "yes";
  } finally {
    asking.close();
  }
}

function say(message: string, json: boolean | undefined): void {
  print({ message }, json, () => message);
}
