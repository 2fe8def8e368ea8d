import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Pool } from "../db.ts";
import { type Backlog, listBacklogs } from "../ledger/backlog.ts";
import { listSpentBudgets } from "../ledger/budgets.ts";
import { familyOf } from "../ledger/deliveries.ts";
import { type AttemptTally, durationBounds, readTallies } from "../ledger/tallies.ts";
import { listWorkers } from "../ledger/workers.ts";
import { listModelStates, type ModelState } from "../models/limits/turns.ts";
import { readLag } from "../reingest/lag.ts";

/**
 * What Prometheus reads, of all processes: the counts are those that workers add up in the database, the gauges those of
 * the ledger. Deliveries to subscribers are one pipeline, `webhook`, however many subscribers there are.
 */
export function openMetrics(pool: Pool): { readonly contentType: string; scrape(): Promise<string> } {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: "loregraph_api_" });
  const metrics = [...gauges(registry), ...counters(registry)];
  return {
    contentType: registry.contentType,
    scrape: async () => {
      const read = await readAll(pool);
      for (const { metric, set } of metrics) {
        metric.reset();
        set(read);
      }
      return await registry.metrics();
    },
  };
}

type Read = Awaited<ReturnType<typeof readAll>>;
type Metric = { readonly metric: { reset(): void }; readonly set: (read: Read) => void };

async function readAll(pool: Pool) {
  const [tallies, backlogs, workers, lag, models, budgets] = await Promise.all([
    readTallies(pool),
    listBacklogs(pool),
    listWorkers(pool),
    readLag(pool),
    listModelStates(pool),
    listSpentBudgets(pool),
  ]);
  return { tallies, backlogs, workers, lag, models, budgets };
}

function gauges(registry: Registry): readonly Metric[] {
  const ofBacklog = (name: string, help: string, value: (backlog: Backlog) => number): Metric => {
    const metric = new Gauge({ name, help, labelNames: ["pipeline"], registers: [registry] });
    const set = ({ backlogs }: Read) => {
      for (const backlog of backlogs) metric.inc({ pipeline: familyOf(backlog.pipeline) }, value(backlog));
    };
    return { metric, set };
  };
  const plain = (name: string, help: string, value: (read: Read) => number): Metric => {
    const metric = new Gauge({ name, help, registers: [registry] });
    return { metric, set: (read) => metric.set(value(read)) };
  };
  const ofModel = (name: string, help: string, value: (state: ModelState) => number): Metric => {
    const metric = new Gauge({ name, help, labelNames: ["provider", "model"], registers: [registry] });
    const set = ({ models }: Read) => {
      for (const state of models) metric.set({ provider: state.provider, model: state.model }, value(state));
    };
    return { metric, set };
  };
  return [
    ofModel("loregraph_model_open", "1 while a model is not asked because it fails", ({ state }) =>
      Number(state === "open"),
    ),
    ofModel("loregraph_model_in_flight", "Calls of a model under way", ({ in_flight }) => in_flight),
    ofModel("loregraph_model_waiting", "Calls of a model that wait for their turn", ({ waiting }) => waiting),
    ofModel(
      "loregraph_model_pace",
      "Calls a minute that a model may be asked; -1 where nothing limits them",
      (state) => state.calls_per_minute ?? -1,
    ),
    ofModel(
      "loregraph_model_refusals",
      "Calls that a model's provider refused for now",
      ({ refusals }) => refusals,
    ),
    ofBacklog("loregraph_runs_due", "Runs that are pending and due", ({ due }) => due),
    ofBacklog("loregraph_runs_later", "Runs that wait for their next attempt", ({ later }) => later),
    ofBacklog("loregraph_runs_running", "Runs that are running", ({ running }) => running),
    ofBacklog("loregraph_runs_waiting", "Runs that wait for a person", ({ waiting }) => waiting),
    ofBacklog("loregraph_dead_letters", "Runs whose attempts are spent", ({ failed }) => failed),
    oldest(
      registry,
      "loregraph_oldest_due_seconds",
      "How long the run that is due longest has been due",
      ({ due_since }) => due_since,
    ),
    oldest(
      registry,
      "loregraph_oldest_waiting_seconds",
      "How long the run that waits longest for a person has waited",
      ({ waiting_since }) => waiting_since,
    ),
    plain("loregraph_workers", "Workers heard of in the last minute", ({ workers }) => workers.length),
    plain("loregraph_budgets_spent", "Budgets that hold work back", ({ budgets }) => budgets.length),
    plain("loregraph_reingests_open", "Reingests that are planned or running", ({ lag }) => lag.reingests),
    plain(
      "loregraph_producer_lag",
      "Pairs that open reingests have yet to decide",
      ({ lag }) => lag.undecided,
    ),
  ];
}

function oldest(
  registry: Registry,
  name: string,
  help: string,
  since: (backlog: Backlog) => Date | null,
): Metric {
  const metric = new Gauge({ name, help, labelNames: ["pipeline"], registers: [registry] });
  const set = ({ backlogs }: Read) => {
    const ages = new Map<string, number>();
    for (const backlog of backlogs) {
      const [family, at] = [familyOf(backlog.pipeline), since(backlog)];
      const age = at ? Math.max(0, (Date.now() - at.getTime()) / 1_000) : 0;
      ages.set(family, Math.max(age, ages.get(family) ?? 0));
    }
    for (const [pipeline, age] of ages) metric.set({ pipeline }, age);
  };
  return { metric, set };
}

function counters(registry: Registry): readonly Metric[] {
  const counted = (name: string, help: string, value: (tally: AttemptTally) => number): Metric => {
    const metric = new Counter({ name, help, labelNames: ["pipeline"], registers: [registry] });
    const set = ({ tallies }: Read) => {
      for (const tally of tallies) metric.inc({ pipeline: tally.pipeline }, value(tally));
    };
    return { metric, set };
  };
  return [
    durations(registry),
    counted("loregraph_model_calls_total", "Answers of chat models", ({ model_calls }) => model_calls),
    counted("loregraph_embedding_calls_total", "Answers of embedding models", (t) => t.embedding_calls),
    counted("loregraph_tokens_in_total", "Prompt tokens", ({ tokens_in }) => tokens_in),
    counted("loregraph_tokens_out_total", "Answered tokens", ({ tokens_out }) => tokens_out),
    counted("loregraph_embedding_tokens_total", "Embedded tokens", (t) => t.embedding_tokens),
    counted("loregraph_cost_usd_total", "What models cost, in US dollars", ({ cost_usd }) => cost_usd),
  ];
}

const durationMetric = {
  name: "loregraph_attempt_duration_seconds",
  help: "Attempts by pipeline and ending, and how long they took",
} as const;

/** Attempts by ending with their durations: `_count` is how many ended so. */
function durations(registry: Registry): Metric {
  const metric = new Told({
    ...durationMetric,
    labelNames: ["pipeline", "ending"],
    registers: [registry],
  });
  return { metric, set: ({ tallies }) => metric.tell(tallies) };
}

/** A histogram that was counted elsewhere: prom-client has none whose buckets can be given. */
class Told extends Histogram<"pipeline" | "ending"> {
  #tallies: readonly AttemptTally[] = [];

  tell(tallies: readonly AttemptTally[]): void {
    this.#tallies = tallies;
  }

  /** What the registry asks a histogram for before it writes it down. */
  async getForPromString() {
    const { name, help } = durationMetric;
    return { name, help, type: "histogram", aggregator: "sum", values: this.#tallies.flatMap(samples) };
  }
}

function samples({ pipeline, ending, attempts, seconds, buckets }: AttemptTally) {
  const labels = { pipeline, ending };
  const bucket = (le: number | string, value: number) => ({
    metricName: `${durationMetric.name}_bucket`,
    labels: { ...labels, le },
    value,
  });
  return [
    ...durationBounds.map((bound, nth) => bucket(bound, buckets[nth] ?? 0)),
    bucket("+Inf", attempts),
    { metricName: `${durationMetric.name}_sum`, labels, value: seconds },
    { metricName: `${durationMetric.name}_count`, labels, value: attempts },
  ];
}
