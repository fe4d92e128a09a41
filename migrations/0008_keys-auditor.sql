-- The auditor learns whose keys are destroyed, so that a replay can count what nobody can open any more. Never a key.
-- Runs as fx_owner.
grant usage on schema ops to fx_auditor;
grant select (tenant_id, subject_id, shredded_at) on ops.subject_keys to fx_auditor;
create policy auditor_counts on ops.subject_keys for select to fx_auditor using (true);
