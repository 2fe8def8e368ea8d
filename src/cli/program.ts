import { Command, Option } from "@commander-js/extra-typings";
import { z } from "zod";
import { LoregraphError } from "../errors.ts";
import { nearest } from "../sources/nearest.ts";

/** A command with what all of them share. `--json` prints JSON alone on stdout; progress and logs go to stderr. */
export function newCommand(name: string, summary: string, example: string) {
  return new Command(name)
    .description(summary)
    .addOption(new Option("--json", "print JSON instead of text"))
    .addHelpText("after", exampleText(example))
    .showSuggestionAfterError()
    .showHelpAfterError("(--help shows what there is)")
    .allowExcessArguments(false);
}

/** The part of a command's help that shows how it is called. */
export function exampleText(example: string): string {
  return `\nExample:\n  npx ${example}`;
}

/** A tenant's id, for `--tenant`. */
export const tenantOption = () =>
  new Option("--tenant <uuid>", "the tenant's id").argParser(uuid("--tenant"));

/** Reads an option's value as a uuid, and names the option where it is none. */
export function uuid(what: string) {
  return (value: string): string => {
    if (z.guid().safeParse(value).success) return value.toLowerCase();
    throw new LoregraphError("INPUT_INVALID", `expected ${what} to be a uuid, got: ${value}`);
  };
}

/** Says that no such pipeline exists, and which one was likely meant. */
export function unknownPipeline(name: string, known: Iterable<string>): LoregraphError {
  const names = [...known];
  const near = nearest(name, names);
  return new LoregraphError(
    "INPUT_INVALID",
    near
      ? `unknown pipeline ${name}, did you mean ${near}?`
      : `expected a pipeline of ${names.join(", ")}, got: ${name}`,
  );
}

/** Reads an option's value as a whole number from `least` on. */
export function wholeNumber(what: string, least: number) {
  return (value: string): number => {
    const number = Number(value);
    if (Number.isSafeInteger(number) && number >= least) return number;
    throw new LoregraphError(
      "INPUT_INVALID",
      `expected ${what} to be a whole number from ${least} on, got: ${value}`,
    );
  };
}

/** Reads an option's value as a comma-separated list of at least one name. */
export function list(what: string) {
  return (value: string): readonly string[] => {
    const names = value
      .split(",")
      .map((part) => part.trim())
      .filter((part) => part !== "");
    if (names.length > 0) return names;
    throw new LoregraphError("INPUT_INVALID", `expected ${what} to be names, got: ${JSON.stringify(value)}`);
  };
}
