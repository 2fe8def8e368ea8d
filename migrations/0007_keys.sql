-- Why: whoever reaches the API says who it is. Only a hash of a key is kept, so that who reads the database cannot
-- use it; and a write that is sent twice under one Idempotency-Key is done once.

create table api_keys (
  id           uuid        primary key default uuid_v7(),
  name         text        not null check (name <> '' and length(name) <= 200),
  hash         bytea       not null check (length(hash) = 32),
  scope        text        not null check (scope in ('admin', 'read', 'write')),
  tenant_id    uuid,
  created_at   timestamptz not null default now(),
  expires_at   timestamptz,
  revoked_at   timestamptz,
  last_used_at timestamptz,
  constraint admin_is_of_no_tenant check ((scope = 'admin') = (tenant_id is null))
);
comment on column api_keys.hash is 'SHA-256 of the secret part, which is 32 random bytes: nothing to guess, so nothing to slow down';

create table idempotent_answers (
  key_id          uuid        not null references api_keys on delete cascade,
  idempotency_key text        not null check (length(idempotency_key) between 1 and 255),
  request_hash    text        not null,
  status          integer,
  body            text,
  created_at      timestamptz not null default now(),
  primary key (key_id, idempotency_key),
  constraint answered_in_whole check ((status is null) = (body is null))
);
create index idempotent_answers_by_age on idempotent_answers (created_at);
