import type { Pool } from "../../src/db.ts";
import { finish, runCli } from "../novel.ts";
import { spread } from "../support.ts";
import { graphs } from "./tenant.ts";

/** Planning as a whole process: the command starts, connects, plans and prints. */
export async function plan({ url }: { pool: Pool; url: string }, tenant: string, rounds: number) {
  const [seconds, peaks]: [number[], number[]] = [[], []];
  let answer: unknown;
  for (let round = 0; round < rounds; round++) {
    const args = ["reingest", "--tenant", tenant, "--dry-run", "--json"];
    const finished = await finish(runCli(url, args, { LOREGRAPH_GRAPHS: graphs }));
    seconds.push(finished.seconds);
    peaks.push(finished.peakMb);
    answer = finished.answer;
  }
  return { seconds: spread(seconds), peak_mb: spread(peaks), totals: (answer as { totals: unknown }).totals };
}
