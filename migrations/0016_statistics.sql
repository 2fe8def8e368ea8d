-- Why: statistics that were gathered while each tenant had one row promise that a tenant's rows are one row: whatever begins
-- with the tenant is then as good an index as a key, and a look-up by key may read all that a tenant has, once for each
-- of its rows. So a tenant is taken for a hundredth of a table, unless it is known to be more.
alter table entities           alter column tenant_id set (n_distinct = 100);
alter table events             alter column tenant_id set (n_distinct = 100);
alter table pipeline_runs      alter column tenant_id set (n_distinct = 100);
alter table documents          alter column tenant_id set (n_distinct = 100);
alter table chunks             alter column tenant_id set (n_distinct = 100);
alter table chunk_vectors      alter column tenant_id set (n_distinct = 100);
alter table chunk_fts          alter column tenant_id set (n_distinct = 100);
alter table enrichments        alter column tenant_id set (n_distinct = 100);
alter table candidate_outputs  alter column tenant_id set (n_distinct = 100);
alter table webhook_deliveries alter column tenant_id set (n_distinct = 100);
alter table model_calls        alter column tenant_id set (n_distinct = 100);
alter table model_answers      alter column tenant_id set (n_distinct = 100);
