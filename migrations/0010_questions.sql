-- Why: a graph may ask a person. What it asks, what it is told, by whom and when are rows of their own, so that each
-- question is answered once, whoever answers it and wherever, and an answer outlives every process that goes on with it.

create table questions (
  tenant_id       uuid        not null,
  run_id          uuid        not null,
  id              text        not null check (id <> ''),
  nth             integer     not null check (nth >= 0),
  question        jsonb       not null,
  answer_schema   jsonb,
  asked_at        timestamptz not null default now(),
  expires_at      timestamptz,
  default_answer  jsonb,
  refused_because text,
  answer          jsonb,
  answered_at     timestamptz,
  answered_by     text,
  set_aside_at    timestamptz,
  primary key (tenant_id, run_id, id),
  constraint answered_is_whole check (
    (answered_at is null) = (answer is null) and (answered_at is null) = (answered_by is null)
  ),
  constraint expiring_has_a_default check (expires_at is null or default_answer is not null),
  constraint only_answers_are_set_aside check (set_aside_at is null or answered_at is not null)
);
comment on table questions is 'What the graphs of runs asked people, and what they were told';
comment on column questions.id is 'LangGraph''s id of the interrupt; another one each time that a graph starts over';
comment on column questions.answer_schema is 'The JSON Schema of the answer, where the graph gave one';
comment on column questions.refused_because is 'Why the graph refused the answer before, and asks the same again';
comment on column questions.set_aside_at is 'When its graph started over, so that the answer is of no use any more';

create index expiring_questions on questions (expires_at) where answered_at is null and expires_at is not null;

alter table pipeline_runs add column waiting_since timestamptz;

-- Runs that wait already ask again, so that their questions get their rows: of each key the newest, and only where none is
-- pending, which would ask as well.
update pipeline_runs run set status = 'cancelled', finished_at = now(), question = null,
  error_code = 'CANCELLED', error_message = 'a newer run of its pipeline and entity asks again'
where run.status = 'waiting' and exists (
  select from pipeline_runs newer
  where newer.tenant_id = run.tenant_id and newer.pipeline = run.pipeline
    and newer.source_type = run.source_type and newer.source_id = run.source_id
    and (newer.status = 'pending' or newer.status = 'waiting' and newer.id > run.id)
);
update pipeline_runs set status = 'pending', question = null, run_after = now() where status = 'waiting';

alter table pipeline_runs add constraint waiting_has_a_beginning check ((status = 'waiting') = (waiting_since is not null));

-- Whoever ends a run looks for those of its key that wait: what they ask is of no interest any more.
create index waiting_by_key on pipeline_runs (tenant_id, pipeline, source_type, source_id) where status = 'waiting';
