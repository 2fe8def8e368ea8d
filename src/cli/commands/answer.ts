import { text } from "node:stream/consumers";
import { LoregraphError } from "../../errors.ts";
import { type Answered, answerRun, givenBy } from "../../ledger/answer.ts";
import { tenantOfRun } from "../../ledger/look.ts";
import { print } from "../output.ts";
import { newCommand, tenantOption, uuid } from "../program.ts";
import { withSession } from "../session.ts";

export const command = () =>
  newCommand(
    "answer",
    "answer a run that waits for a person; it goes on where it stopped",
    `loregraph answer 01a1f3c2-7b7e-7c11-9d0a-5f4e2b6a8c31 '"Mara"'`,
  )
    .argument("<run>", "its id", uuid("the run's id"))
    .argument("<json>", "the answer, or - to read it from stdin")
    .addOption(tenantOption())
    .option("--question <id>", "which of several questions; `runs show` lists them")
    .option("--as <name>", "who answers, for those who ask later", "command line")
    .action(async (id, json, { tenant, question, as, json: asJson }) => {
      const answer = await read(json);
      await withSession(async ({ pool }) => {
        const tenant_id = tenant ?? (await tenantOfRun(pool, id));
        if (tenant_id === undefined) throw new LoregraphError("NOT_FOUND", `there is no run ${id}`);
        print(await answerRun(pool, { tenant_id, id }, givenBy(answer, question), as), asJson, said);
      });
    });

async function read(json: string): Promise<unknown> {
  const given = json === "-" ? await text(process.stdin) : json;
  try {
    return JSON.parse(given);
  } catch (cause) {
    throw new LoregraphError(
      "INPUT_INVALID",
      `expected the answer to be JSON (a text in quotation marks: '"Mara"'), got: ${given.slice(0, 80)}`,
      {
        cause,
      },
    );
  }
}

function said({ status, open }: Answered): string {
  if (status === "pending") return "it goes on where it stopped";
  return `it waits on: ${open.length} more to be answered: ${open.join(", ")}`;
}
