-- Why: whether a change made a graph better is known only by comparing it with what was measured before. Evaluations are
-- of pipelines and examples, and of no tenant: no tenant's content stands in them.

create table evaluations (
  id               uuid             primary key default uuid_v7(),
  pipeline         text             not null,
  pipeline_version integer          not null check (pipeline_version > 0),
  model            text             not null,
  prompt_hash      text             not null,
  fingerprint      text             not null,
  data             text             not null,
  data_hash        text             not null,
  measures         jsonb            not null check (jsonb_typeof(measures) = 'object'),
  fields           jsonb            not null check (jsonb_typeof(fields) = 'array'),
  failed           integer          not null check (failed >= 0),
  rejected         integer          not null check (rejected >= 0),
  ms               bigint           not null,
  tokens_in        bigint           not null,
  tokens_out       bigint           not null,
  cost_usd         double precision not null,
  created_at       timestamptz      not null default now()
);
comment on column evaluations.data_hash is 'Of the examples as they were run: the same hash is the same examples';

-- The newest of a pipeline.
create index evaluations_of_pipeline on evaluations (pipeline, id desc);

create table evaluation_cases (
  evaluation_id uuid             not null references evaluations on delete cascade,
  ordinal       integer          not null check (ordinal >= 0),
  name          text             not null,
  expected      jsonb            not null,
  answer        jsonb,
  scores        jsonb            not null,
  error         jsonb,
  ms            bigint           not null,
  tokens_in     bigint           not null,
  tokens_out    bigint           not null,
  cost_usd      double precision not null,
  primary key (evaluation_id, ordinal),
  constraint answered_or_failed check ((answer is null) = (error is not null))
);
