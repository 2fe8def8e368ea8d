-- Why: LangGraph applies what the tasks of a step wrote in the order of their paths, and asks a checkpointer to give it
-- back in that order. Its own table has no room for the path; its own checkpointer leaves the column alone.

alter table checkpoint_writes add column task_path text not null default '';
