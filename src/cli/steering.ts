import type { Db } from "../db.ts";
import { LoregraphError } from "../errors.ts";
import { listBacklogs } from "../ledger/backlog.ts";
import type { PipelineControls, TenantControls } from "../ledger/controls.ts";
import { print } from "./output.ts";
import { newCommand, tenantOption } from "./program.ts";
import { assertRegistered } from "./registered.ts";
import { type Session, withSession } from "./session.ts";

type Steering = {
  readonly name: string;
  readonly summary: string;
  readonly example: string;
  /** What was done, as it is told. */
  readonly done: string;
  readonly tenant: (db: Db, tenant_id: string) => Promise<TenantControls>;
  readonly pipeline: (db: Db, pipeline: string) => Promise<PipelineControls>;
};

type Steered = (TenantControls | PipelineControls) & { readonly pending: number; readonly running: number };

/** A command that does something with one tenant or one pipeline as a whole, and tells what waits there. */
export const steeringCommand = ({ name, summary, example, done, ...steer }: Steering) =>
  newCommand(name, summary, example)
    .addOption(tenantOption())
    .option("--pipeline <name>", "the pipeline, for all tenants")
    .action(async ({ tenant, pipeline, json }) => {
      if ((tenant === undefined) === (pipeline === undefined))
        throw new LoregraphError("INPUT_INVALID", "expected either --tenant or --pipeline");
      await withSession(async (session) => {
        const steered =
          tenant === undefined
            ? await steerPipeline(session, String(pipeline), steer.pipeline)
            : await steerTenant(session, tenant, steer.tenant);
        print(steered, json, (it) => `${done} ${nameOf(it)}: ${it.pending} pending, ${it.running} running`);
      });
    });

async function steerTenant({ pool }: Session, tenant: string, steer: Steering["tenant"]): Promise<Steered> {
  const controls = await steer(pool, tenant);
  return { ...controls, ...add(await listBacklogs(pool, tenant)) };
}

async function steerPipeline(
  { pool, config }: Session,
  pipeline: string,
  steer: Steering["pipeline"],
): Promise<Steered> {
  await assertRegistered(pipeline, config.graphs);
  const controls = await steer(pool, pipeline);
  const backlogs = await listBacklogs(pool);
  return { ...controls, ...add(backlogs.filter((backlog) => backlog.pipeline === pipeline)) };
}

function add(backlogs: Awaited<ReturnType<typeof listBacklogs>>): { pending: number; running: number } {
  return {
    pending: backlogs.reduce((sum, { due, later }) => sum + due + later, 0),
    running: backlogs.reduce((sum, { running }) => sum + running, 0),
  };
}

function nameOf(steered: Steered): string {
  return "tenant_id" in steered ? `tenant ${steered.tenant_id}` : `pipeline ${steered.pipeline}`;
}
