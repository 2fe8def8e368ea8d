import { Option } from "@commander-js/extra-typings";
import { type Config, readConfig } from "../../config.ts";
import { libraryOf } from "../../eval/library.ts";
import type { ModelCall } from "../../models/calls.ts";
import { type Entity, type Pipeline, type Reader, SourceType, sourceTypes } from "../../pipeline.ts";
import { makerOf } from "../../store/stamps.ts";
import { tryGraph } from "../../try/run.ts";
import { readerFor } from "../../worker/tools.ts";
import { loadedPipeline } from "../loaded.ts";
import { print } from "../output.ts";
import { newCommand, tenantOption, wholeNumber } from "../program.ts";
import { withSession } from "../session.ts";
import { heedSignals } from "../signals.ts";
import { type Asked, openAskedModels, recordOption, replayOption, tellOfRules } from "../tape.ts";
import { theEntity } from "../the-entity.ts";
import { readAnswers, told } from "../try/answers.ts";
import { type InputOptions, readInput } from "../try/input.ts";
import { notingReader } from "../try/noting.ts";
import { Report } from "../try/report.ts";
import { endText, headText } from "../try/text.ts";

export const command = () =>
  newCommand(
    "try",
    "run a pipeline's graph once, show each node, and write nothing",
    'loregraph try dialog-mood "“You lied to me,” Marta snapped."',
  )
    .argument("<pipeline>", "its name in langgraph.json")
    .argument(
      "<input>",
      "an entity's id, a file (an entity or example as JSON, or a text), a text, or - for stdin",
    )
    .addOption(new Option("--type <type>", "what the input is").choices(sourceTypes))
    .option("--example <name>", "which example of a file of examples")
    .option("--texts <folder>", "the books that examples refer to by place")
    .addOption(tenantOption())
    .option("--model <name>", "the chat model, in place of the configured one")
    .option("--version <n>", "another version of the pipeline that is loaded", wholeNumber("--version", 1))
    .option("--answer <json>", "what a person answers where the graph asks; may be repeated", readAnswers, [])
    .option("--timeout <seconds>", "the longest that it may take", wholeNumber("--timeout", 1))
    .option("--trace", "show what each model was asked, and what it answered")
    .addOption(recordOption())
    .addOption(replayOption())
    .action(async (name, written, { type, ...options }) => {
      const config = readConfig();
      const pipeline = await loadedPipeline(name, options.version, config);
      const asked = { ...options, pipeline, type: SourceType.optional().parse(type) } satisfies InputOptions;
      const input = await readInput(written, asked);
      if (input.kind === "given") return await tryGiven(config, asked, input.input);
      await withSession(async ({ pool, signal }) => {
        const entity = await theEntity(pool, input.id, options.tenant);
        await tryOn(config, asked, { entity, read: readerFor(pool, entity, name), signal, answers: [] });
      });
    });

type Options = Asked & {
  readonly pipeline: Pipeline;
  readonly answer: readonly unknown[];
  readonly timeout?: number | undefined;
  readonly trace?: true | undefined;
  readonly json?: true | undefined;
};

type Subject = {
  readonly entity: Entity;
  readonly read: Reader;
  readonly signal: AbortSignal;
  readonly answers: readonly unknown[];
};

type GivenInput = Extract<Awaited<ReturnType<typeof readInput>>, { kind: "given" }>["input"];

/** Without a database: what a graph reads of its tenant is what the input brings along. */
async function tryGiven(config: Config, options: Options, given: GivenInput): Promise<void> {
  const { signal, forget } = heedSignals();
  const read = notingReader(libraryOf(given), (what) =>
    process.stderr.write(`${what} found nothing: without an entity's id there is no database to read\n`),
  );
  try {
    await tryOn(config, options, { entity: given.input, read, signal, answers: given.answers ?? [] });
  } finally {
    forget();
  }
}

async function tryOn(config: Config, options: Options, subject: Subject): Promise<void> {
  const { pipeline, answer, timeout, json } = options;
  const { entity, read, signal } = subject;
  const taped = await openAskedModels(config, options);
  try {
    const models = taped.open();
    const { model: maker } = makerOf(pipeline, models);
    tellOfRules(pipeline, models);
    if (!json) process.stdout.write(headText(pipeline, maker, entity));
    const report = new Report((text) => void (json || process.stdout.write(text)), options.trace ?? false);
    const lent = models.lend({
      known: async () => new Map(),
      onCall: (call: ModelCall) => report.called(call),
    });
    const tried = await tryGraph({
      pipeline,
      tools: { model: lent.model, embed: lent.embed, read },
      entity,
      signal,
      timeout: timeout === undefined ? undefined : timeout * 1_000,
      answers: [...subject.answers, ...answer],
      onStep: (step) => report.step(step),
    });
    const { tenant_id: _, text: __, ...shown } = entity;
    const ended = told(pipeline, entity, tried);
    const made = { pipeline: pipeline.name, version: pipeline.version, model: maker, entity: shown };
    print({ ...made, nodes: report.nodes, ...ended, ...report.total(lent.usage()) }, json, endText);
  } finally {
    await taped.close();
  }
}
