import { LoregraphError } from "../src/errors.ts";

/** What names the attempt that writes: the run whose thread it is, and the lease under which it runs. */
export type Attempt = { readonly tenant_id: string; readonly id: string; readonly lease_token: string };

export function leaseLost(thread_id: string): LoregraphError {
  return new LoregraphError("LEASE_LOST", `run ${thread_id}: another worker holds its lease now`);
}
