-- Why: content has to be somewhere before anything can be made of it, and every change to it is a fact that
-- others act on. Both are written in one transaction, so neither can be true without the other.

-- Ids that sort by time keep new rows together in an index. Postgres has uuidv7() only from 18 on.
create function uuid_v7() returns uuid language sql volatile parallel safe as $$
  select encode(
    set_bit(
      set_bit(
        overlay(
          uuid_send(gen_random_uuid())
          placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
          from 1 for 6
        ),
        52, 1
      ),
      53, 1
    ),
    'hex'
  )::uuid
$$;

-- Where an entity stands is what its source says in the metadata, and a source may say anything there.
create function order_of(metadata jsonb) returns double precision language sql immutable parallel safe as $$
  select case when jsonb_typeof(metadata -> 'order') = 'number' then (metadata ->> 'order')::double precision end
$$;

create function parent_of(metadata jsonb) returns uuid language sql immutable parallel safe as $$
  select case
    when metadata ->> 'parent_id' ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then (metadata ->> 'parent_id')::uuid
  end
$$;

create table entities (
  tenant_id   uuid        not null,
  source_type text        not null check (source_type ~ '^[a-z][a-z0-9_]*$'),
  source_id   uuid        not null,
  version     integer     not null check (version >= 1),
  title       text        not null,
  text        text        not null,
  metadata    jsonb       not null check (jsonb_typeof(metadata) = 'object'),
  source      text        not null,
  created_at  timestamptz not null default now(),
  changed_at  timestamptz not null default now(),
  primary key (tenant_id, source_type, source_id)
);
comment on column entities.version is 'Counts the changes of this entity from 1; never reused, not even after a deletion';
comment on column entities.source is 'Where it came from; an import deletes only what the same source gave before';

create index entities_by_source on entities (tenant_id, source);
create index entities_by_parent on entities (tenant_id, (metadata ->> 'parent_id')) where metadata ? 'parent_id';

create table events (
  tenant_id   uuid        not null,
  id          bigint      not null generated always as identity,
  event       text        not null,
  source_type text        not null,
  source_id   uuid        not null,
  version     integer     not null check (version >= 1),
  occurred_at timestamptz not null default now(),
  metadata    jsonb       not null default '{}' check (jsonb_typeof(metadata) = 'object'),
  run_id      uuid,
  primary key (tenant_id, id)
);
comment on column events.run_id is 'The run whose transaction appended it; null where a source did';

create index events_by_entity on events (tenant_id, source_type, source_id, id);
