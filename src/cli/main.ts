import "./memory.ts";
import { Command, CommanderError } from "@commander-js/extra-typings";
import { loregraphError, messageOf } from "../errors.ts";
import { exitCodeOf, exitCodes } from "./exit-codes.ts";

/** Each command is loaded only when it is called: most need a database, and `--help` needs nothing. */
const commands = {
  demo: {
    summary: "ingest and enrich a small story world, and show what was learnt",
    load: () => import("./commands/demo.ts"),
  },
  import: { summary: "take in a novel or a file of JSON Lines", load: () => import("./commands/import.ts") },
  sync: {
    summary: "take in what a tenant has in the main service",
    load: () => import("./commands/sync.ts"),
  },
  new: {
    summary: "write a new pipeline: a folder and its line in langgraph.json",
    load: () => import("./commands/new.ts"),
  },
  inspect: {
    summary: "show what base ingestion would make of files; needs no database",
    load: () => import("./commands/inspect.ts"),
  },
  up: {
    summary: "answer the HTTP API and run pipelines: everything by one command",
    load: () => import("./commands/up.ts"),
  },
  worker: { summary: "run pipelines until told to stop", load: () => import("./commands/worker.ts") },
  serve: { summary: "answer the HTTP API until told to stop", load: () => import("./commands/serve.ts") },
  status: {
    summary: "show what there is, what waits, what failed and what it cost",
    load: () => import("./commands/status.ts"),
  },
  cost: {
    summary: "show what a tenant's models cost, and what was saved",
    load: () => import("./commands/cost.ts"),
  },
  budget: {
    summary: "bound what a tenant's models cost a day or a month",
    load: () => import("./commands/budget.ts"),
  },
  runs: {
    summary: "list runs, newest first; show, retry or cancel one",
    load: () => import("./commands/runs.ts"),
  },
  answer: {
    summary: "answer a run that waits for a person; it goes on where it stopped",
    load: () => import("./commands/answer.ts"),
  },
  "dead-letters": {
    summary: "list what failed for good, by cause, or try it again",
    load: () => import("./commands/dead-letters.ts"),
  },
  checkpoints: {
    summary: "show what checkpoints take up, and what will be freed",
    load: () => import("./commands/checkpoints.ts"),
  },
  pause: {
    summary: "start no more runs of a tenant or a pipeline",
    load: () => import("./commands/pause.ts"),
  },
  resume: {
    summary: "start runs of a paused tenant or pipeline again",
    load: () => import("./commands/resume.ts"),
  },
  reingest: {
    summary: "run a tenant again, or a part of it; plan, watch and steer that",
    load: () => import("./commands/reingest.ts"),
  },
  show: { summary: "show an entity with all that is known of it", load: () => import("./commands/show.ts") },
  search: { summary: "find chunks by their words", load: () => import("./commands/search.ts") },
  try: {
    summary: "run a pipeline's graph once, show each node, and write nothing",
    load: () => import("./commands/try.ts"),
  },
  eval: {
    summary: "run a pipeline's examples and score its answers; list, show or compare what was scored",
    load: () => import("./commands/eval.ts"),
  },
  rollout: {
    summary: "try another version of a pipeline on a share, then promote or drop it",
    load: () => import("./commands/rollout.ts"),
  },
  diff: {
    summary: "show how the outputs of two versions differ, by field and by example",
    load: () => import("./commands/diff.ts"),
  },
  check: {
    summary: "check all pipelines, and whether one changed without a new version",
    load: () => import("./commands/check.ts"),
  },
  explain: {
    summary: "tell how an enrichment came to be, back to the change of content that caused it",
    load: () => import("./commands/explain.ts"),
  },
  graph: {
    summary: "draw a pipeline's graph as Mermaid or SVG",
    load: () => import("./commands/graph.ts"),
  },
  studio: {
    summary: "open runs in LangGraph Studio or its SDK",
    load: () => import("./commands/studio.ts"),
  },
  fork: {
    summary: "list, show, promote or drop forks that were made in Studio",
    load: () => import("./commands/fork.ts"),
  },
  keys: { summary: "make, list or revoke keys of the HTTP API", load: () => import("./commands/keys.ts") },
  db: { summary: "start, stop, open or reset the database", load: () => import("./commands/db.ts") },
  migrate: {
    summary: "bring the database to the newest migration",
    load: () => import("./commands/migrate.ts"),
  },
} as const;

const epilogue = `
Exit codes: 0 done, 1 failed, 2 wrong use or input, 3 done in part, 4 no database.
Settings come from the environment or a .env file; without DATABASE_URL an embedded Postgres is used.

Example:
  npx loregraph import novel.txt --tenant 7b0c1f6e-3f57-4a0e-9b61-0f6d3a3f9c11
  npx loregraph worker --until-idle
  npx loregraph search "the lighthouse"`;

async function main(argv: readonly string[]): Promise<void> {
  const program = new Command("loregraph")
    .description("A durable ingestion and enrichment runtime: LangGraph graphs on a Postgres ledger.")
    .version((await import("./version.ts")).version())
    .showSuggestionAfterError()
    .enablePositionalOptions() // an option belongs to the command that it stands behind
    .addHelpText("after", epilogue)
    .exitOverride();
  const asked = argv.find((argument) => !argument.startsWith("-") && argument !== "help");
  for (const [name, { summary, load }] of Object.entries(commands)) {
    const command = name === asked ? (await load()).command() : new Command(name).description(summary);
    program.addCommand(command);
    throughout(command);
  }
  if (argv.length === 0) return program.outputHelp();
  await program.parseAsync(argv, { from: "user" });
}

/** A wrong use of a subcommand is thrown like any other, so that its exit code is ours. */
function throughout(command: { exitOverride(): unknown; commands: readonly unknown[] }): void {
  command.exitOverride();
  for (const sub of command.commands) throughout(sub as typeof command);
}

// A reader that has seen enough, such as head, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) =>
  process.exit(error.code === "EPIPE" ? 0 : exitCodes.failed),
);

try {
  await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = tell(error);
}

/** Tells a person what went wrong and what to do about it; returns the exit code. */
function tell(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.wrongUse;
  const known = loregraphError(error);
  console.error(`error: ${known ? known.message : messageOf(error)}`);
  if (known) console.error(`       ${known.solve} (${known.code})`);
  else if (error instanceof Error && process.execArgv.includes("--enable-source-maps"))
    console.error(error.stack);
  return exitCodeOf(known ?? error);
}
