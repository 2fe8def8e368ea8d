import { randomUUID } from "node:crypto";
import { expect, test } from "vitest";
import { testDatabase } from "./support/database.ts";
import { openTestApp, bearer } from "./support/http.ts";
import { runtime, startWorker } from "./support/runtime.ts";
import { echo } from "./support/pipelines.ts";
import { viewEntity } from "../src/store/entity-view.ts";
import { readEntity } from "../src/store/entities.ts";
import { readDocument } from "../src/store/documents.ts";
import { enrichmentsOf } from "../src/store/enrichments.ts";
import { acceptEntities } from "../src/intake.ts";
import { scene } from "./support/content.ts";
import { Agent, request } from "node:http";
import { writeFileSync } from "node:fs";

const out: string[] = [];
const say = (...a: unknown[]) => { out.push(a.join(" ")); writeFileSync("/tmp/bench-out.txt", out.join("\n") + "\n"); };
const q = (xs: number[], p: number) => xs.toSorted((a, b) => a - b)[Math.min(xs.length - 1, Math.floor(xs.length * p))]?.toFixed(2);
const sum = (xs: number[]) => `n=${xs.length} p50=${q(xs, 0.5)} p95=${q(xs, 0.95)} p99=${q(xs, 0.99)} max=${q(xs, 1)}`;

test("bench", async () => {
  const database = await testDatabase();
  const hold = Number(process.env.HOLD ?? 2000);
  const context = runtime(database, ...["a", "b", "c", "d"].map((name) => echo(async ({ text }) => { return { said: text.slice(0, 200) }; }, { name })));
  const slow = runtime(database, ...["a", "b", "c", "d"].map((name) => echo(async ({ text }) => { await new Promise((r) => setTimeout(r, hold)); return { said: text.slice(0, 200) }; }, { name })));
  const api = await openTestApp(context);
  const address = await api.app.listen({ port: 0 });
  const text = "“You came,” said Mara. ".repeat(100);
  const entities = Array.from({ length: 500 }, () => scene({ text, metadata: { world_id: randomUUID() } }));
  await acceptEntities(context.pool, context.registry, { tenant_id: api.tenant, source: "x", entities });
  { await using w = startWorker(context, database, { concurrency: 8 } as any); await w.untilIdle(); }
  await database.pool.query("vacuum analyze");
  const keys = entities.map(({ source_type, source_id }) => ({ tenant_id: api.tenant, source_type, source_id }));
  const { rows } = await database.pool.query("select count(*) from enrichments"); say("enrichments", rows[0].count);
  const time = async (n: number, f: (k: any) => Promise<unknown>) => { const xs: number[] = []; for (let i = 0; i < n; i++) { const k = keys[(i * 37) % keys.length]; const t = performance.now(); await f(k); xs.push(performance.now() - t); } return sum(xs); };
  await time(200, (k) => viewEntity(database.pool, k));
  say("one statement", await time(1000, (k) => viewEntity(database.pool, k)));
  say("three parallel", await time(1000, (k) => Promise.all([readEntity(database.pool, k), readDocument(database.pool, k), enrichmentsOf(database.pool, k)])));
  const agent = new Agent({ keepAlive: true, maxSockets: 16 });
  const get = (k: any) => new Promise<number>((resolve, reject) => { request(`${address}/tenants/${api.tenant}/entities/${k.source_type}/${k.source_id}`, { agent, headers: bearer(api.keys.read) }, (res) => { let n = 0; res.on("data", (c) => { n += c.length; }).on("end", () => res.statusCode === 200 ? resolve(n) : reject(new Error(String(res.statusCode)))); }).on("error", reject).end(); });
  await time(200, get);
  say("http idle", await time(1000, get));
  // 200 runs in flight in this very process
  const more = Array.from({ length: 1500 }, () => scene({ text }));
  await acceptEntities(context.pool, context.registry, { tenant_id: api.foreign, source: "x", entities: more });
  const worker = startWorker(slow, database, { concurrency: 200 } as any);
  await expect.poll(async () => (await database.pool.query("select count(*)::int as n from pipeline_runs where status = 'running'")).rows[0].n, { timeout: 20000 }).toBeGreaterThan(150);
  const xs: number[] = []; let stop = performance.now() + 10_000; let counts: number[] = [];
  const client = async () => { while (performance.now() < stop) { const k = keys[Math.floor(Math.random() * keys.length)]; const t = performance.now(); await get(k); xs.push(performance.now() - t); await new Promise((r) => setTimeout(r, 10)); } };
  const watch = async () => { while (performance.now() < stop) { counts.push((await database.pool.query("select count(*)::int as n from pipeline_runs where status = 'running'")).rows[0].n); await new Promise((r) => setTimeout(r, 500)); } };
  const c0 = process.cpuUsage(); await Promise.all([client(), client(), client(), client(), watch()]); const c1 = process.cpuUsage(c0);
  say("http with runs in flight", sum(xs), "in flight", counts.join(","), "ended", worker.endings.length, "cpu s", (c1.user + c1.system) / 1e6);
  await worker.stop();
  const plan = await database.pool.query("explain (analyze, buffers) select * from events where tenant_id = $1 and (transaction_id, id) > ($2, $3) and transaction_id < pg_snapshot_xmin(pg_current_snapshot())::text::bigint order by transaction_id, id limit 100", [api.tenant, 0, 0]);
  say(plan.rows.map((r: any) => r["QUERY PLAN"]).join("\n"));
}, 120_000);
