import { z } from "zod";
import { jsonOf } from "../json.ts";
import type { ModelResponse } from "../layers.ts";
import { isTooLarge, retryAfterMs } from "../retry-after.ts";

/** Waits in milliseconds: where the server names none, after a spent quota, and the least. */
const waits = { unnamed: 2_000, quota: 600_000, least: 50 } as const;

const Body = z.object({
  error: z.object({
    code: z.string().nullish().catch(null),
    type: z.string().nullish().catch(null),
    message: z.string().catch(""),
  }),
});

/** A call that the server would have answered later: when, and whether that tells of a rate. */
export type Refused = { readonly waitMs: number; readonly slows: boolean };

/** Whether a response refuses its call for now. One that asks for more than any minute allows is refused for ever. */
export function refusalOf({ status, headers, body }: ModelResponse): Refused | undefined {
  if (status !== 429) return undefined;
  const { code, type, message = "" } = Body.safeParse(jsonOf(body)).data?.error ?? {};
  if (isTooLarge(message)) return undefined;
  const quota = [code, type].includes("insufficient_quota");
  const waitMs = retryAfterMs(headers) ?? (quota ? waits.quota : waits.unnamed);
  return { waitMs: Math.max(waits.least, waitMs), slows: !quota };
}
