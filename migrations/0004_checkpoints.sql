-- Why: LangGraph's checkpointer creates its tables when it is first used, which races where many workers start
-- at once. Made here, in the shape that it expects and with the migration number that it looks for, they are
-- there before anyone asks, and its own set-up finds nothing left to do.

create table checkpoint_migrations (v integer primary key);
insert into checkpoint_migrations (v) values (0), (1), (2), (3), (4);

create table checkpoints (
  thread_id            text  not null,
  checkpoint_ns        text  not null default '',
  checkpoint_id        text  not null,
  parent_checkpoint_id text,
  type                 text,
  checkpoint           jsonb not null,
  metadata             jsonb not null default '{}',
  primary key (thread_id, checkpoint_ns, checkpoint_id)
);

create table checkpoint_blobs (
  thread_id     text not null,
  checkpoint_ns text not null default '',
  channel       text not null,
  version       text not null,
  type          text not null,
  blob          bytea,
  primary key (thread_id, checkpoint_ns, channel, version)
);

create table checkpoint_writes (
  thread_id     text    not null,
  checkpoint_ns text    not null default '',
  checkpoint_id text    not null,
  task_id       text    not null,
  idx           integer not null,
  channel       text    not null,
  type          text,
  blob          bytea   not null,
  primary key (thread_id, checkpoint_ns, checkpoint_id, task_id, idx)
);
