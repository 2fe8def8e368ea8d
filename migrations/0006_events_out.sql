-- Why: subscribers act on events, so each must reach each of them, in order per entity, though writers commit in any
-- order and subscribers may be dead for days. What is owed to a subscriber is a row, written by the transaction that
-- appended the event; delivering it is a run of the ledger like any other.

-- Ids are given before a transaction commits: a reader who goes by ids alone would pass over what commits late. Events
-- are read in the order (transaction, id), up to the oldest transaction that still writes.
alter table events add column transaction_id bigint not null default pg_current_xact_id()::text::bigint;
update events set transaction_id = 0;
comment on column events.transaction_id is 'Who wrote it; 0 or less where that number means nothing any more, as in a restored copy';
create index events_in_order on events (tenant_id, transaction_id, id);

create table webhooks (
  tenant_id     uuid        not null,
  id            uuid        not null default uuid_v7(),
  url           text        not null check (url ~ '^https?://' and length(url) <= 2000),
  secret        text        not null check (secret like 'whsec\_%'),
  events        text[]      check (cardinality(events) > 0),
  description   text        not null default '',
  created_at    timestamptz not null default now(),
  failing_since timestamptz,
  disabled_at   timestamptz,
  disabled_because text,
  primary key (tenant_id, id),
  constraint disabled_says_why check ((disabled_at is null) = (disabled_because is null))
);
comment on column webhooks.secret is 'Signs every delivery, so it is kept as it is: Standard Webhooks, whsec_ and base64';
comment on column webhooks.events is 'The names of the events that it gets; null for all';

create table webhook_deliveries (
  tenant_id   uuid   not null,
  webhook_id  uuid   not null,
  event_id    bigint not null,
  source_type text   not null,
  source_id   uuid   not null,
  primary key (tenant_id, webhook_id, source_type, source_id, event_id),
  foreign key (tenant_id, webhook_id) references webhooks on delete cascade
);
comment on table webhook_deliveries is 'What a subscriber is owed; a row goes when it was delivered';
