-- Why: a sync goes on where the last one stopped, so where that was is written with what it took in. And what workers
-- did is added up where every process can read it, whether or not the process that did it still lives.

create table source_cursors (
  tenant_id  uuid        not null,
  source     text        not null,
  cursor     text        not null,
  changed_at timestamptz not null default now(),
  primary key (tenant_id, source)
);

create table attempt_tallies (
  pipeline         text    not null,
  ending           text    not null,
  attempts         bigint  not null default 0,
  seconds          double precision not null default 0,
  buckets          bigint[] not null,
  model_calls      bigint  not null default 0,
  embedding_calls  bigint  not null default 0,
  tokens_in        bigint  not null default 0,
  tokens_out       bigint  not null default 0,
  embedding_tokens bigint  not null default 0,
  cost_usd         numeric(18, 9) not null default 0,
  primary key (pipeline, ending)
);
comment on column attempt_tallies.buckets is 'Attempts by duration, cumulative, for the bounds that the code names';
