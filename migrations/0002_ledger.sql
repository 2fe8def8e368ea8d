-- Why: the queue item and the ledger entry are one row, so that "is it queued" and "did it happen" can never
-- disagree. What a state requires stands in constraints, and which state may follow which in a trigger.

create table pipeline_runs (
  tenant_id           uuid        not null,
  id                  uuid        not null default uuid_v7(),
  source_type         text        not null,
  source_id           uuid        not null,
  source_version      integer     not null check (source_version >= 1),
  pipeline            text        not null,
  status              text        not null default 'pending'
    check (status in ('pending', 'running', 'waiting', 'success', 'failed', 'cancelled')),
  outcome             text
    check (outcome in ('completed', 'skipped', 'duplicate_skipped', 'eval_rejected')),
  priority            integer     not null default 0,
  run_after           timestamptz not null default now(),
  idempotency_key     text,

  attempt             integer     not null default 0 check (attempt >= 0),
  max_attempts        integer     not null check (max_attempts >= 1),
  lease_token         uuid,
  lease_expires_at    timestamptz,
  worker              text,
  graph_started_at    timestamptz,
  cancel_requested_at timestamptz,

  pipeline_version    integer,
  model               text,
  prompt_hash         text,
  input_hash          text,

  error_code          text,
  error_message       text,
  errors              jsonb       not null default '[]' check (jsonb_typeof(errors) = 'array'),
  question            jsonb,

  model_calls         integer     not null default 0 check (model_calls >= 0),
  embedding_calls     integer     not null default 0 check (embedding_calls >= 0),
  tokens_in           bigint      not null default 0 check (tokens_in >= 0),
  tokens_cached       bigint      not null default 0 check (tokens_cached >= 0),
  tokens_out          bigint      not null default 0 check (tokens_out >= 0),
  embedding_tokens    bigint      not null default 0 check (embedding_tokens >= 0),
  vectors_reused      integer     not null default 0 check (vectors_reused >= 0),
  cost_usd            numeric(18, 9) not null default 0 check (cost_usd >= 0),

  cause_event         bigint,
  parent_run_id       uuid,
  reingest_id         uuid,

  created_at          timestamptz not null default now(),
  started_at          timestamptz,
  finished_at         timestamptz,

  primary key (tenant_id, id),
  constraint running_is_leased check (
    (status = 'running') = (lease_token is not null)
    and (status = 'running') = (lease_expires_at is not null)
    and (status = 'running') = (worker is not null)
  ),
  constraint running_has_started check (status <> 'running' or started_at is not null),
  constraint only_running_graphs_started check (graph_started_at is null or status = 'running'),
  constraint only_running_is_asked_to_cancel check (cancel_requested_at is null or status = 'running'),
  constraint ended_has_an_end check ((status in ('success', 'failed', 'cancelled')) = (finished_at is not null)),
  constraint success_has_an_outcome check ((status = 'success') = (outcome is not null)),
  constraint failed_says_why check (status <> 'failed' or (error_code is not null and error_message is not null)),
  constraint waiting_has_a_question check ((status = 'waiting') = (question is not null))
);
comment on table pipeline_runs is 'One pipeline on one entity: the queue item and the ledger entry';
comment on column pipeline_runs.attempt is 'Attempts that count: a graph started, and was neither released nor rate-limited';
comment on column pipeline_runs.lease_token is 'Made by each claim; whoever does not name it can neither renew, save nor finish';

-- Coalescing: at most one pending and one running run of a pipeline on an entity.
create unique index one_pending_run on pipeline_runs (tenant_id, pipeline, source_type, source_id)
  where status = 'pending';
create unique index one_running_run on pipeline_runs (tenant_id, pipeline, source_type, source_id)
  where status = 'running';

-- The claim walks this one: a lane is (tenant, pipeline, priority), its head the run that is due first.
create index pending_lanes on pipeline_runs (tenant_id, pipeline, priority, run_after, id) where status = 'pending';
create index running_leases on pipeline_runs (lease_expires_at) where status = 'running';
create index dead_letters on pipeline_runs (tenant_id, pipeline, finished_at) where status = 'failed';
create index runs_by_entity on pipeline_runs (tenant_id, source_type, source_id, id);
create unique index runs_by_idempotency_key on pipeline_runs (tenant_id, idempotency_key)
  where idempotency_key is not null;
create index runs_by_end on pipeline_runs (finished_at) where finished_at is not null;

create function refuse_illegal_transition() returns trigger language plpgsql as $$
begin
  if (old.status, new.status) not in (
    ('pending', 'running'), ('pending', 'cancelled'),
    ('running', 'success'), ('running', 'failed'), ('running', 'pending'),
    ('running', 'waiting'), ('running', 'cancelled'),
    ('waiting', 'pending'), ('waiting', 'cancelled'),
    ('failed', 'pending')
  ) then
    raise exception 'a run cannot go from % to %', old.status, new.status
      using errcode = 'LG001', constraint = 'legal_transition';
  end if;
  return new;
end
$$;

create trigger legal_transition before update of status on pipeline_runs
  for each row when (old.status is distinct from new.status)
  execute function refuse_illegal_transition();

-- One row pauses a tenant or a pipeline, whatever its backlog; weights share slots, caps bound them.
create table tenant_controls (
  tenant_id   uuid primary key,
  paused_at   timestamptz,
  weight      real    not null default 1 check (weight > 0),
  max_running integer check (max_running >= 0),
  flags       jsonb   not null default '{}' check (jsonb_typeof(flags) = 'object')
);

-- Where tenants have equally few runs running, the one that was served the longest ago is next.
create table tenant_turns (
  tenant_id  uuid        primary key,
  claimed_at timestamptz not null
);

create table pipeline_controls (
  pipeline    text primary key,
  paused_at   timestamptz,
  max_running integer check (max_running >= 0)
);

create table workers (
  worker      text        primary key,
  pipelines   text[]      not null,
  concurrency integer     not null,
  started_at  timestamptz not null default now(),
  seen_at     timestamptz not null default now()
);
