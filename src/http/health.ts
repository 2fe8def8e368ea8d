import { z } from "zod";
import { listWorkers } from "../ledger/workers.ts";
import { pendingMigrations } from "../postgres/migrate.ts";
import { alwaysAnswers } from "./limits.ts";
import type { App, Services } from "./services.ts";

const Check = z.object({ ok: z.boolean(), detail: z.string() });
type Check = z.infer<typeof Check>;

const Readiness = z.object({
  status: z.enum(["ready", "unready"]),
  checks: z.object({
    database: Check,
    migrations: Check,
    load: Check,
    workers: Check.describe("Without workers nothing is done, but everything is taken in: it is ready"),
  }),
});
type Readiness = z.infer<typeof Readiness>;

/** Whether the process lives, and whether it can do its work. Anybody may ask, as often as they like. */
export function healthRoutes(app: App, services: Services): void {
  app.get(
    "/healthz",
    {
      config: { scope: "open", ...alwaysAnswers },
      schema: {
        summary: "Is the process alive?",
        tags: ["health"],
        response: { 200: z.object({ status: z.literal("alive") }) },
      },
    },
    () => ({ status: "alive" }) as const,
  );

  const look = atMostOnceASecond(() => readinessOf(app, services));
  app.get(
    "/readyz",
    {
      config: { scope: "open", ...alwaysAnswers },
      schema: {
        summary: "Can it do its work?",
        tags: ["health"],
        response: { 200: Readiness, 503: Readiness.describe("What is in the way") },
      },
    },
    async (_, reply) => {
      const readiness = await look();
      return reply.code(readiness.status === "ready" ? 200 : 503).send(readiness);
    },
  );
}

async function readinessOf(app: App, { pool, schema }: Services): Promise<Readiness> {
  const [migrations, workers] = await Promise.all([
    answered(pendingMigrations(pool, { schema })),
    answered(listWorkers(pool)),
  ]);
  const checks = {
    database: check(workers !== undefined, "reachable", `gave no answer in ${patienceMs} ms`),
    migrations: check(migrations?.length === 0, "at the newest", lacking(migrations)),
    load: check(!app.isUnderPressure(), "bearable", "too much is asked at once"),
    workers: check((workers?.length ?? 0) > 0, `${workers?.length} seen in the last minute`, unseen(workers)),
  };
  const { database, load } = checks;
  const ready = database.ok && checks.migrations.ok && load.ok;
  return { status: ready ? "ready" : "unready", checks };
}

function unseen(workers: readonly unknown[] | undefined): string {
  return workers ? "none was seen in the last minute: what comes in is kept, and waits" : "unknown";
}

function check(ok: boolean, good: string, bad: string): Check {
  return { ok, detail: ok ? good : bad };
}

function lacking(migrations: readonly string[] | undefined): string {
  return migrations === undefined ? "unknown" : `lacks ${migrations.join(", ")}`;
}

const patienceMs = 2_000;

/** What the database answers, or undefined where it does not: who asks wants to know that soon. */
async function answered<Answer>(asked: Promise<Answer>): Promise<Answer | undefined> {
  const patience = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => patience.resolve(undefined), patienceMs);
  try {
    return await Promise.race([asked.catch(() => undefined), patience.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** However many ask: those within a second get the same answer. */
function atMostOnceASecond<Answer>(look: () => Promise<Answer>): () => Promise<Answer> {
  let last: { readonly answer: Promise<Answer>; readonly at: number } | undefined;
  return () => {
    const now = performance.now();
    if (last === undefined || now - last.at > 1_000) last = { answer: look(), at: now };
    return last.answer;
  };
}
