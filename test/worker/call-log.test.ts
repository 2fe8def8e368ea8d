import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import type { NotedCall } from "../../src/ledger/calls.ts";
import type { ModelCall } from "../../src/models/calls.ts";
import { CallLog } from "../../src/worker/call-log.ts";

const call: ModelCall = {
  ...{ kind: "chat", model: "gpt-4o-mini", node: "read", key: "k", from: "provider" },
  ...{ tokens_in: 10, tokens_cached: 0, tokens_out: 1, cost_usd: 0.5, saved_usd: 0, ms: 3 },
  ...{ request: {}, response: {} },
};
const run = {
  ...{ tenant_id: randomUUID(), id: randomUUID(), lease_token: randomUUID() },
  ...{ pipeline: "echo", reingest_id: null, attempt: 0 },
};

test("a call that comes while earlier ones are being noted is noted with the next, after thousands too", () => {
  const log = new CallLog(run);
  const ledger = new Map<number, NotedCall>();
  // The ledger takes a number once.
  const note = (due: readonly NotedCall[]) => {
    for (const noted of due) if (!ledger.has(noted.ordinal)) ledger.set(noted.ordinal, noted);
    log.forget(due);
  };
  for (let nth = 0; nth < 1_002; nth++) log.add(call);
  const underWay = log.due();
  log.add(call);

  note(underWay);
  note(log.due());

  const calls = [...ledger.values()].reduce((sum, noted) => sum + noted.calls, 0);
  expect(calls).toBe(1_003);
  expect(ledger.size).toBe(1_002);
});
