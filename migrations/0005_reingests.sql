-- Why: running a tenant again is a thing of its own, with a plan, a place where it stands, limits and an end, so
-- that it survives any process and a person can look at it, hold it and stop it. Its runs are runs like any other;
-- only their lane is its own, so that one row holds all of them back.

create table reingests (
  tenant_id           uuid        not null,
  id                  uuid        not null default uuid_v7(),
  status              text        not null default 'planned'
    check (status in ('planned', 'running', 'paused', 'completed', 'failed', 'cancelled')),
  idempotency_key     text,
  request             jsonb       not null check (jsonb_typeof(request) = 'object'),
  source              text        not null default 'local',
  priority            integer     not null check (priority between -32768 and 32767),
  max_cost_usd        numeric(18, 9) check (max_cost_usd > 0),
  max_tokens          bigint      check (max_tokens > 0),
  max_runs_per_minute integer     check (max_runs_per_minute > 0),

  total               bigint      not null check (total >= 0),
  skipped             bigint      not null default 0 check (skipped >= 0),
  enqueued            bigint      not null default 0 check (enqueued >= 0),
  cursor              jsonb,
  produced_at         timestamptz,

  paused_because      text,
  error_code          text,
  error_message       text,
  event_id            bigint,
  created_at          timestamptz not null default now(),
  started_at          timestamptz,
  finished_at         timestamptz,

  primary key (tenant_id, id),
  constraint ended_has_an_end check ((status in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
  constraint failed_says_why check ((status = 'failed') = (error_code is not null and error_message is not null)),
  constraint only_paused_says_why check (paused_because is null or status = 'paused'),
  constraint running_has_started check (status <> 'running' or started_at is not null),
  constraint completed_was_produced check (status <> 'completed' or produced_at is not null)
);
comment on column reingests.total is 'The pairs of entity and pipeline that it is to decide about, counted when it was made';
comment on column reingests.skipped is 'The pairs that its producer found unchanged, or already wanted by somebody else';
comment on column reingests.cursor is 'Where its producer goes on: written in the transaction that makes the runs before it';

create unique index reingests_by_idempotency_key on reingests (tenant_id, idempotency_key)
  where idempotency_key is not null;
create index open_reingests on reingests (created_at) where status in ('planned', 'running', 'paused');
create index reingests_by_age on reingests (tenant_id, id desc);

create function refuse_illegal_reingest() returns trigger language plpgsql as $$
begin
  if (old.status, new.status) not in (
    ('planned', 'running'), ('planned', 'paused'), ('planned', 'failed'), ('planned', 'cancelled'),
    ('running', 'paused'), ('running', 'completed'), ('running', 'failed'), ('running', 'cancelled'),
    ('paused', 'running'), ('paused', 'cancelled')
  ) then
    raise exception 'a reingest cannot go from % to %', old.status, new.status
      using errcode = 'LG001', constraint = 'legal_transition';
  end if;
  return new;
end
$$;

create trigger legal_transition before update of status on reingests
  for each row when (old.status is distinct from new.status)
  execute function refuse_illegal_reingest();

-- When the next run of a reingest that is held to a rate may start. Only claims write it, and they take turns: were it
-- a column of `reingests`, a claim would wait for each page of the producer.
create table reingest_paces (
  tenant_id   uuid        not null,
  reingest_id uuid        not null,
  next_at     timestamptz not null,
  primary key (tenant_id, reingest_id),
  foreign key (tenant_id, reingest_id) references reingests on delete cascade
);

-- What became of a reingest's runs. Counted by the transaction that ends them, in sixteen rows by connection, so that
-- commits which end at once seldom wait for each other, and none takes two rows in another order; who reads adds them up.
create table reingest_tallies (
  tenant_id   uuid     not null,
  reingest_id uuid     not null,
  pipeline    text     not null,
  shard       smallint not null,
  done        bigint   not null default 0,
  skipped     bigint   not null default 0,
  failed      bigint   not null default 0,
  cancelled   bigint   not null default 0,
  follow_on   bigint   not null default 0,
  tokens      bigint   not null default 0,
  cost_usd    numeric(18, 9) not null default 0,
  primary key (tenant_id, reingest_id, pipeline, shard),
  foreign key (tenant_id, reingest_id) references reingests on delete cascade
) with (fillfactor = 50);
comment on column reingest_tallies.follow_on is 'How many of those that ended were made by another run, and not by the producer';

alter table pipeline_runs add column force boolean not null default false;
comment on column pipeline_runs.force is 'Run the graph even where nothing has changed';

-- A lane is (tenant, pipeline, priority, reingest): a reingest that is held back costs a claim one look at its lane.
drop index pending_lanes;
create index pending_lanes on pipeline_runs (
  tenant_id, pipeline, priority, coalesce(reingest_id, '00000000-0000-0000-0000-000000000000'::uuid), run_after, id
) where status = 'pending';
create index open_runs_by_reingest on pipeline_runs (tenant_id, reingest_id, status)
  where reingest_id is not null and status in ('pending', 'running', 'waiting');

-- Who looks at the ledger asks for what failed, also of the entities of a page, what waits for a person, and what ended
-- lately.
create index dead_letters_by_entity on pipeline_runs (tenant_id, source_type, source_id, pipeline)
  where status = 'failed';
create index failed_runs on pipeline_runs (tenant_id, id) where status = 'failed';
create index waiting_runs on pipeline_runs (tenant_id, id) where status = 'waiting';
drop index runs_by_end;
create index runs_by_end on pipeline_runs (finished_at) include (pipeline, status, outcome)
  where finished_at is not null;

-- A run that leaves its reingest (somebody else wants it too) counts there as skipped.
create function tally_reingest() returns trigger language plpgsql as $$
declare
  left_it boolean := old.reingest_id is distinct from new.reingest_id;
  ended   boolean := not left_it and new.finished_at is not null and old.finished_at is null;
begin
  insert into reingest_tallies as tally
    (tenant_id, reingest_id, pipeline, shard, done, skipped, failed, cancelled, follow_on, tokens, cost_usd)
  values (
    old.tenant_id, old.reingest_id, old.pipeline, pg_backend_pid() & 15,
    (ended and new.status = 'success' and new.outcome <> 'duplicate_skipped')::integer,
    (left_it or ended and new.status = 'success' and new.outcome = 'duplicate_skipped')::integer,
    (ended and new.status = 'failed')::integer,
    (ended and new.status = 'cancelled')::integer,
    ((left_it or ended) and old.parent_run_id is not null)::integer,
    case when left_it then 0 else
      new.tokens_in + new.tokens_out + new.embedding_tokens - old.tokens_in - old.tokens_out - old.embedding_tokens
    end,
    case when left_it then 0 else new.cost_usd - old.cost_usd end
  )
  on conflict (tenant_id, reingest_id, pipeline, shard) do update set
    done      = tally.done + excluded.done,
    skipped   = tally.skipped + excluded.skipped,
    failed    = tally.failed + excluded.failed,
    cancelled = tally.cancelled + excluded.cancelled,
    follow_on = tally.follow_on + excluded.follow_on,
    tokens    = tally.tokens + excluded.tokens,
    cost_usd  = tally.cost_usd + excluded.cost_usd;
  return null;
end
$$;

-- A claim and a renewal change neither an end nor a usage: they do not pay for this.
create trigger tally_reingest after update on pipeline_runs
  for each row when (
    old.reingest_id is not null and old.finished_at is null and (
      old.reingest_id is distinct from new.reingest_id
      or new.finished_at is not null
      or old.cost_usd <> new.cost_usd
      or old.tokens_in + old.tokens_out + old.embedding_tokens <> new.tokens_in + new.tokens_out + new.embedding_tokens
    )
  )
  execute function tally_reingest();
