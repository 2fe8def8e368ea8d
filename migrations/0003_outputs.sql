-- Why: what pipelines learn lives beside what it was learnt from, each row stamped with the pipeline version,
-- model, prompts and input that made it, so that "is this still true" is a comparison and not a guess.
-- Deleting an entity deletes all that was made of it.

create table documents (
  tenant_id        uuid        not null,
  source_type      text        not null,
  source_id        uuid        not null,
  source_version   integer     not null,
  kind             text        not null check (kind in ('empty', 'structured', 'dialogue', 'narration')),
  language         text,
  pipeline_version integer     not null,
  model            text        not null,
  prompt_hash      text        not null,
  input_hash       text        not null,
  run_id           uuid        not null,
  stored_at        timestamptz not null default now(),
  primary key (tenant_id, source_type, source_id),
  foreign key (tenant_id, source_type, source_id) references entities on delete cascade
);

create table chunks (
  tenant_id    uuid    not null,
  source_type  text    not null,
  source_id    uuid    not null,
  ordinal      integer not null check (ordinal >= 0),
  path         text    not null,
  text         text    not null check (text <> ''),
  start_offset integer not null check (start_offset >= 0),
  end_offset   integer not null,
  tokens       integer not null check (tokens >= 0),
  content_kind text    not null check (content_kind in ('dialogue', 'narration', 'mixed')),
  primary key (tenant_id, source_type, source_id, ordinal),
  foreign key (tenant_id, source_type, source_id) references documents on delete cascade,
  check (end_offset > start_offset)
);
comment on column chunks.start_offset is 'UTF-16 code units into the entity''s text, as JavaScript counts them';

create table chunk_vectors (
  tenant_id   uuid    not null,
  source_type text    not null,
  source_id   uuid    not null,
  ordinal     integer not null,
  model       text    not null,
  dimensions  integer not null check (dimensions > 0),
  text_hash   text    not null,
  vector      real[]  not null,
  primary key (tenant_id, source_type, source_id, ordinal),
  foreign key (tenant_id, source_type, source_id, ordinal) references chunks on delete cascade,
  check (array_ndims(vector) = 1 and cardinality(vector) = dimensions)
);
comment on column chunk_vectors.text_hash is 'SHA-256 of the embedded text, "[H] {path}" and the chunk''s text on the next line';

-- The same text is never embedded twice by one model for one tenant.
create index vectors_by_text on chunk_vectors (tenant_id, model, text_hash);

create table chunk_fts (
  tenant_id   uuid     not null,
  source_type text     not null,
  source_id   uuid     not null,
  ordinal     integer  not null,
  config      text     not null,
  words       tsvector not null,
  primary key (tenant_id, source_type, source_id, ordinal),
  foreign key (tenant_id, source_type, source_id, ordinal) references chunks on delete cascade
);
comment on column chunk_fts.config is 'The text search configuration of the words; a query is parsed with the same one';

create index chunk_words on chunk_fts using gin (words);
create index chunk_fts_configs on chunk_fts (tenant_id, config);

create table enrichments (
  tenant_id        uuid        not null,
  source_type      text        not null,
  source_id        uuid        not null,
  pipeline         text        not null,
  source_version   integer     not null,
  outcome          text        not null check (outcome in ('completed', 'skipped')),
  output           jsonb       not null check (jsonb_typeof(output) = 'object'),
  pipeline_version integer     not null,
  model            text        not null,
  prompt_hash      text        not null,
  input_hash       text        not null,
  run_id           uuid        not null,
  stored_at        timestamptz not null default now(),
  primary key (tenant_id, source_type, source_id, pipeline),
  foreign key (tenant_id, source_type, source_id) references entities on delete cascade
);

create index enrichments_by_pipeline on enrichments (tenant_id, pipeline, source_type);
