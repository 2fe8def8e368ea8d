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
