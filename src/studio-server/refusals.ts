import { LoregraphError } from "../errors.ts";
import type { App } from "../http/services.ts";

/** What LangGraph's own server does and this one never does: it shows production, and makes nothing of its own. */
const never = [
  ["POST", "/threads"],
  ["PATCH", "/threads/:thread_id"],
  ["DELETE", "/threads/:thread_id"],
  ["PATCH", "/threads/:thread_id/state"],
  ["DELETE", "/threads/:thread_id/runs/:run_id"],
  ["POST", "/runs"],
  ["POST", "/runs/stream"],
  ["POST", "/runs/wait"],
  ["POST", "/runs/batch"],
  ["POST", "/runs/crons"],
  ["POST", "/threads/:thread_id/runs/crons"],
  ["POST", "/assistants"],
  ["PATCH", "/assistants/:id"],
  ["DELETE", "/assistants/:id"],
] as const;

/** What it does to forks, where forks are allowed. */
const ofForks = [
  ["POST", "/threads/:thread_id/state"],
  ["POST", "/threads/:thread_id/copy"],
  ["POST", "/threads/:thread_id/runs"],
  ["POST", "/threads/:thread_id/runs/stream"],
  ["POST", "/threads/:thread_id/runs/wait"],
  ["POST", "/threads/:thread_id/runs/:run_id/cancel"],
] as const;

export function refuseMaking(app: App): void {
  for (const [method, url] of never) refuse(app, method, url, "runs, threads and assistants of its own");
}

export function refuseForking(app: App): void {
  for (const [method, url] of ofForks) refuse(app, method, url, "forks");
}

function refuse(app: App, method: "POST" | "PATCH" | "DELETE", url: string, what: string): void {
  app.route({
    method,
    url,
    handler: async () => {
      throw new LoregraphError("READ_ONLY", `this server shows runs and makes no ${what}`);
    },
  });
}
