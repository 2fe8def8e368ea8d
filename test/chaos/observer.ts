import type pg from "pg";
import { askingNodes } from "./pipelines.ts";

/**
 * Lets the database itself write down what happens in it: each change of a run's status, each answer that becomes
 * safe in a checkpoint, each output with the transaction that stored it, and whatever a session did to a run whose
 * lease its process did not hold. What is rolled back leaves no note, as it should.
 */
export async function installObserver(db: pg.Client): Promise<void> {
  await db.query(observerSql);
}

const nodes = askingNodes.map((node) => `'${node}'`).join(", ");

const observerSql = `
  create schema chaos;

  create table chaos.transitions (
    seq              bigint generated always as identity primary key,
    tenant_id        uuid not null,
    run              uuid not null,
    pipeline         text not null,
    was              text,
    became           text not null,
    error_code       text,
    holder           text,
    pid              text,
    lease_expired    boolean,
    tenant_running   integer,
    tenant_cap       integer,
    pipeline_running integer,
    pipeline_cap     integer,
    xid              bigint not null default pg_current_xact_id()::text::bigint,
    at               timestamptz not null default clock_timestamp()
  );
  create index on chaos.transitions (run, seq);
  create index on chaos.transitions (at);

  create table chaos.answers (
    run     text not null,
    node    text not null,
    is_gone boolean not null,
    at      timestamptz not null default clock_timestamp()
  );

  create table chaos.outputs (
    run    uuid not null,
    stored text not null,
    xid    bigint not null default pg_current_xact_id()::text::bigint
  );

  create table chaos.strays (
    what   text not null,
    run    text not null,
    holder text,
    pid    text,
    at     timestamptz not null default clock_timestamp()
  );

  -- The process that the session is of; null for the suite's own.
  create function chaos.pid() returns text language sql stable as $$
    select nullif(current_setting('chaos.pid', true), '')
  $$;

  create function chaos.is_of(holder text, pid text) returns boolean language sql immutable as $$
    select coalesce(holder like '%-' || pid || '-%', false)
  $$;

  create function chaos.note_transition() returns trigger language plpgsql as $$
  declare
    tenant_load integer; tenant_limit integer; pipeline_load integer; pipeline_limit integer;
  begin
    if new.status = 'running' then
      select count(*) filter (where tenant_id = new.tenant_id), count(*) filter (where pipeline = new.pipeline)
      into tenant_load, pipeline_load
      from loregraph.pipeline_runs where status = 'running';
      select max_running into tenant_limit from loregraph.tenant_controls where tenant_id = new.tenant_id;
      select max_running into pipeline_limit from loregraph.pipeline_controls where pipeline = new.pipeline;
    end if;
    insert into chaos.transitions (tenant_id, run, pipeline, was, became, error_code, holder, pid, lease_expired,
      tenant_running, tenant_cap, pipeline_running, pipeline_cap)
    values (new.tenant_id, new.id, new.pipeline, case when tg_op = 'UPDATE' then old.status end, new.status,
      new.error_code, case when tg_op = 'UPDATE' then old.worker end, chaos.pid(),
      case when tg_op = 'UPDATE' then old.lease_expires_at < clock_timestamp() end,
      tenant_load, tenant_limit, pipeline_load, pipeline_limit);
    return null;
  end
  $$;
  create trigger chaos_made after insert on loregraph.pipeline_runs
    for each row execute function chaos.note_transition();
  create trigger chaos_moved after update on loregraph.pipeline_runs
    for each row when (old.status is distinct from new.status) execute function chaos.note_transition();

  create function chaos.note_renewal() returns trigger language plpgsql as $$
  begin
    if chaos.pid() is not null and not chaos.is_of(old.worker, chaos.pid()) then
      insert into chaos.strays (what, run, holder, pid) values ('renewed', old.id, old.worker, chaos.pid());
    end if;
    return null;
  end
  $$;
  create trigger chaos_renewed after update on loregraph.pipeline_runs
    for each row when (old.lease_token = new.lease_token and old.cancel_requested_at is not distinct from new.cancel_requested_at)
    execute function chaos.note_renewal();

  create function chaos.note_checkpoint() returns trigger language plpgsql as $$
  declare
    by_whom text;
  begin
    select worker into by_whom from loregraph.pipeline_runs where id = new.thread_id::uuid and status = 'running';
    if not chaos.is_of(by_whom, chaos.pid()) then
      insert into chaos.strays (what, run, holder, pid) values ('wrote ' || tg_table_name, new.thread_id, by_whom, chaos.pid());
    end if;
    return null;
  end
  $$;

  create function chaos.note_answer() returns trigger language plpgsql as $$
  begin
    if tg_op = 'DELETE' then
      insert into chaos.answers (run, node, is_gone) values (old.thread_id, old.channel, true);
    else
      insert into chaos.answers (run, node, is_gone) values (new.thread_id, new.channel, false);
    end if;
    return null;
  end
  $$;

  create trigger chaos_fenced after insert or update on loregraph.checkpoints
    for each row execute function chaos.note_checkpoint();
  create trigger chaos_fenced after insert or update on loregraph.checkpoint_blobs
    for each row execute function chaos.note_checkpoint();
  create trigger chaos_fenced after insert or update on loregraph.checkpoint_writes
    for each row execute function chaos.note_checkpoint();
  create trigger chaos_saved after insert on loregraph.checkpoint_blobs
    for each row when (new.channel in (${nodes}) and new.type <> 'empty') execute function chaos.note_answer();
  create trigger chaos_saved after insert on loregraph.checkpoint_writes
    for each row when (new.channel in (${nodes})) execute function chaos.note_answer();
  create trigger chaos_dropped after delete on loregraph.checkpoint_blobs
    for each row when (old.channel in (${nodes}) and old.type <> 'empty') execute function chaos.note_answer();
  create trigger chaos_dropped after delete on loregraph.checkpoint_writes
    for each row when (old.channel in (${nodes})) execute function chaos.note_answer();

  create function chaos.note_output() returns trigger language plpgsql as $$
  begin
    if tg_op = 'UPDATE' then
      if old.run_id = new.run_id then return null; end if;
    end if;
    insert into chaos.outputs (run, stored) values (new.run_id, tg_table_name);
    return null;
  end
  $$;
  create trigger chaos_stored after insert or update on loregraph.documents
    for each row execute function chaos.note_output();
  create trigger chaos_stored after insert or update on loregraph.enrichments
    for each row execute function chaos.note_output();
`;
