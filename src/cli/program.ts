import { Command, Option } from "@commander-js/extra-typings";
import { z } from "zod";
import { LoregraphError } from "../errors.ts";

/** A command with what all of them share. `--json` prints JSON alone on stdout; progress and logs go to stderr. */
export function newCommand(name: string, summary: string, example: string) {
  return new Command(name)
    .description(summary)
    .addOption(new Option("--json", "print JSON instead of text"))
    .addHelpText("after", `\nExample:\n  ${example}`)
    .showSuggestionAfterError()
    .showHelpAfterError("(--help shows what there is)")
    .allowExcessArguments(false);
}

/** A tenant's id, for `--tenant`. */
export const tenantOption = () =>
  new Option("--tenant <uuid>", "the tenant's id").argParser(uuid("--tenant"));

/** Reads an option's value as a uuid, and names the option where it is none. */
export function uuid(what: string) {
  return (value: string): string => {
    if (z.uuid().safeParse(value).success) return value.toLowerCase();
    throw new LoregraphError("INPUT_INVALID", `expected ${what} to be a uuid, got: ${value}`);
  };
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

/** Reads an option's value as a comma-separated list. */
export function list(value: string): readonly string[] {
  return value
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}
