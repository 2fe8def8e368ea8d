-- Why: a bill that is known. Every answer of a model is a row, without its text, so that a person sees which node of
-- which run paid what; what they add up to by day outlives them, so that the bill of last year is still there. A budget
-- is a rule over those sums: where it is spent, the lanes that it covers are left alone until its period ends.

create table model_calls (
  tenant_id     uuid        not null,
  run_id        uuid        not null,
  lease_token   uuid        not null,
  ordinal       integer     not null check (ordinal >= 1),
  attempt       integer     not null check (attempt >= 1),
  pipeline      text        not null,
  reingest_id   uuid,
  node          text,
  kind          text        not null check (kind in ('chat', 'embedding')),
  model         text        not null,
  source        text        not null check (source in ('provider', 'cache', 'replay')),
  calls         integer     not null default 1 check (calls >= 1),
  tokens_in     bigint      not null check (tokens_in >= 0),
  tokens_cached bigint      not null check (tokens_cached >= 0),
  tokens_out    bigint      not null check (tokens_out >= 0),
  cost_usd      numeric(18, 9) not null check (cost_usd >= 0),
  saved_usd     numeric(18, 9) not null check (saved_usd >= 0),
  ms            real        not null,
  key           text,
  at            timestamptz not null default now(),
  primary key (tenant_id, run_id, lease_token, ordinal)
);
comment on table model_calls is 'Each answer of a model, whoever holds the run now: it was paid for. Deleted after 30 days';
comment on column model_calls.lease_token is 'The attempt that asked; released and rate-limited ones share a number, never this';
comment on column model_calls.calls is 'More than 1 where an attempt made so many that the later ones are added up, by node';

-- Rows come in the order of time, so this costs next to nothing to keep, and finds what is old.
create index model_calls_by_age on model_calls using brin (at);

-- In sixteen rows by connection, as the tallies of reingests; those of past days are made one.
create table model_spends (
  tenant_id     uuid     not null,
  day           date     not null,
  pipeline      text     not null,
  reingest_id   uuid     not null,
  model         text     not null,
  source        text     not null,
  shard         smallint not null,
  calls         bigint   not null,
  tokens_in     bigint   not null,
  tokens_cached bigint   not null,
  tokens_out    bigint   not null,
  cost_usd      numeric(18, 9) not null,
  saved_usd     numeric(18, 9) not null,
  primary key (tenant_id, day, pipeline, reingest_id, model, source, shard)
) with (fillfactor = 50);
comment on table model_spends is 'What a tenant''s calls add up to by day (UTC), pipeline, reingest and model; kept for good';
comment on column model_spends.reingest_id is 'All zeros where it was of none';

create index sharded_spends on model_spends (day) where shard > 0;

create table budgets (
  tenant_id   uuid        not null,
  id          uuid        not null default uuid_v7(),
  pipeline    text,
  reingest_id uuid,
  per         text        not null check (per in ('day', 'month')),
  usd         numeric(18, 9) not null check (usd >= 0),
  spent_until timestamptz,
  created_at  timestamptz not null default now(),
  primary key (tenant_id, id),
  constraint one_budget_of_a_kind unique nulls not distinct (tenant_id, pipeline, reingest_id, per)
);
comment on table budgets is 'What a tenant''s models may cost a day or a month (UTC): in all, of one pipeline, of one reingest, or of both';
comment on column budgets.spent_until is 'Until when the lanes that it covers wait, written by whoever finds it spent';

-- What models answered, where the setting says so, so that a tenant's same question is not paid for twice.
create table model_answers (
  tenant_id  uuid        not null,
  key        text        not null,
  model      text        not null,
  body       text        not null,
  at         timestamptz not null default now(),
  expires_at timestamptz not null,
  primary key (tenant_id, key)
);
comment on table model_answers is 'Answers that their runs accepted, by a hash of server and question; of no other tenant';

create index model_answers_by_age on model_answers (tenant_id, at);
create index expired_model_answers on model_answers (expires_at);
