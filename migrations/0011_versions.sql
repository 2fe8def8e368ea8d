-- Why: a version says that answers changed, but only if whoever changed the graph raised it. The fingerprint of the code
-- tells when that was forgotten, and keeps one code from going on with what another began.
alter table pipeline_runs add column fingerprint text;
alter table documents add column fingerprint text;
alter table enrichments add column fingerprint text;
comment on column pipeline_runs.fingerprint is 'Of the source files of the graph''s folder; null for what older programs made';

-- Which code was run under a version. What workers run belongs to no tenant, and neither does this.
create table pipeline_versions (
  pipeline    text        not null,
  version     integer     not null check (version >= 1),
  fingerprint text        not null check (fingerprint ~ '^(ts|js)-[0-9a-f]{64}$'),
  prompt_hash text        not null,
  files       jsonb       not null check (jsonb_typeof(files) = 'object'),
  first_seen  timestamptz not null default now(),
  last_seen   timestamptz not null default now(),
  accepted_at timestamptz,
  primary key (pipeline, version, fingerprint)
);
comment on column pipeline_versions.files is 'The hash of each source file, so that it can be said which of them changed';
comment on column pipeline_versions.accepted_at is 'The first code of a version is; other code is when a person says that its answers are the same';

-- A new version is tried on a share of the entities beside the one that runs. What it makes is kept aside, so that nobody
-- reads it and nothing follows from it, until a person has compared the two.
create table rollouts (
  id           uuid        primary key default uuid_v7(),
  pipeline     text        not null,
  from_version integer     not null check (from_version >= 1),
  to_version   integer     not null,
  tenant_id    uuid,
  share        double precision not null check (share > 0 and share <= 1),
  status       text        not null default 'running'
    check (status in ('running', 'promoting', 'promoted', 'dropping', 'dropped')),
  started_at   timestamptz not null default now(),
  ended_at     timestamptz,
  constraint to_another check (to_version > from_version),
  constraint ended_has_an_end check ((status in ('promoted', 'dropped')) = (ended_at is not null))
);
comment on column rollouts.tenant_id is 'The one tenant whose entities it is tried on; null for all';
create unique index one_open_rollout on rollouts (pipeline) where ended_at is null;

create function refuse_illegal_rollout() returns trigger language plpgsql as $$
begin
  if (old.status, new.status) not in (
    ('running', 'promoting'), ('promoting', 'promoted'), ('running', 'dropping'), ('dropping', 'dropped')
  ) then
    raise exception 'a rollout cannot go from % to %', old.status, new.status
      using errcode = 'LG001', constraint = 'legal_rollout';
  end if;
  return new;
end
$$;

create trigger legal_rollout before update of status on rollouts
  for each row when (old.status is distinct from new.status)
  execute function refuse_illegal_rollout();

create table candidate_outputs (
  tenant_id        uuid        not null,
  source_type      text        not null,
  source_id        uuid        not null,
  pipeline         text        not null,
  pipeline_version integer     not null,
  source_version   integer     not null,
  outcome          text        not null check (outcome in ('completed', 'skipped')),
  output           jsonb       not null check (jsonb_typeof(output) = 'object'),
  events           jsonb       not null default '[]' check (jsonb_typeof(events) = 'array'),
  model            text        not null,
  prompt_hash      text        not null,
  input_hash       text        not null,
  fingerprint      text,
  run_id           uuid        not null,
  stored_at        timestamptz not null default now(),
  primary key (tenant_id, source_type, source_id, pipeline, pipeline_version),
  foreign key (tenant_id, source_type, source_id) references entities on delete cascade
);
comment on column candidate_outputs.events is 'What the graph wanted to be told; told when it is promoted';
create index candidates_by_pipeline
  on candidate_outputs (pipeline, pipeline_version, tenant_id, source_type, source_id);
