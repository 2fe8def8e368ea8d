-- Why: a person who looks at a run may edit its state and go on from there. What comes of that is a thread of its own: the
-- run's checkpoints tell what happened and never change. It is nobody's answer until it is promoted, and goes by itself.

create table forks (
  tenant_id       uuid        not null,
  id              uuid        not null default uuid_v7(),
  run_id          uuid        not null,
  checkpoint_id   text        not null,
  pipeline        text        not null,
  source_type     text        not null,
  source_id       uuid        not null,
  source_version  integer     not null check (source_version >= 1),
  stamp           jsonb       not null check (jsonb_typeof(stamp) = 'object'),
  made_by         text        not null,
  status          text        not null default 'open' check (status in ('open', 'promoted', 'dropped', 'expired')),
  usage           jsonb       not null check (jsonb_typeof(usage) = 'object'),
  created_at      timestamptz not null default now(),
  expires_at      timestamptz,
  promoted_at     timestamptz,
  promoted_run_id uuid,
  primary key (tenant_id, id),
  constraint promoted_became_a_run check (
    (status = 'promoted') = (promoted_run_id is not null) and (status = 'promoted') = (promoted_at is not null)
  ),
  constraint open_expires check (status <> 'open' or expires_at is not null)
);
comment on table forks is 'States of runs that a person goes on from; the id is that of the thread that holds its checkpoints';
comment on column forks.expires_at is 'When its checkpoints go; null once they are gone';

create index forks_by_run on forks (tenant_id, run_id);
create index forks_by_expiry on forks (expires_at) where expires_at is not null;
