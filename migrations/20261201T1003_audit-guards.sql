-- module: audit
-- What stands on the functions of the record: the guards of what entries name, and the runs of the red team.

-- The actions and batches that entries name stay.
do $$
declare
  kept record;
begin
  for kept in select * from (values ('audit_actions', 'action'), ('merkle_batches', 'id')) as k (relation, key) loop
    execute format('create trigger a_entries_name_it before delete on app.%I '
                   'for each row execute function fx.deny()', kept.relation);
    execute format('create trigger a_entries_name_them before truncate on app.%I '
                   'for each statement execute function fx.deny()', kept.relation);
    execute format('create trigger a_entries_know_its_name before update on app.%1$I '
                   'for each row when (old.%2$I is distinct from new.%2$I) execute function fx.deny()',
                   kept.relation, kept.key);
    execute format('alter table app.%I enable always trigger a_entries_name_it', kept.relation);
    execute format('alter table app.%I enable always trigger a_entries_name_them', kept.relation);
    execute format('alter table app.%I enable always trigger a_entries_know_its_name', kept.relation);
  end loop;
end $$;

-- Runs of the red team: that they happened, what they found, and where the signed report lies (TI-09).
create table app.redteam_reports (
  tenant_id      text not null check (tenant_id = 'tnt_fintokenx'), -- the platform's own
  id             text not null check (id ~ '^rtr_[0-9a-z]{26}$'),
  run_at         timestamptz not null,
  attacks        integer not null check (attacks >= 0),
  broken         integer not null check (broken between 0 and attacks),
  outcome        integer not null check (outcome in (0, 1)), -- the exit status: 0 says that every attack was turned away
  report_sha256  text not null check (report_sha256 ~ '^[0-9a-f]{64}$'), -- of the canonical bytes that are signed
  signature      text not null check (signature ~ '^[0-9a-f]{128}$'), -- Ed25519 over those bytes
  signed_by_key  text not null check (length(signed_by_key) between 1 and 100),
  storage_ref    text not null check (length(storage_ref) between 1 and 300),
  primary key (tenant_id, id),
  check (outcome = 1 or broken = 0)
);
select fx.protect('redteam_reports', 'audit');
create index redteam_reports_by_time on app.redteam_reports (tenant_id, run_at);

-- A bypass is judged by the entry that it left, and an entry may be asked for across tenants.
grant select (id, action) on app.audit_entries to fx_fingerprint;
grant execute on function fx.change(text, timestamptz, text, text, text, text, text, text, json) to fx_fingerprint;
select fx.may_be_asked('entry', 'audit_entries', 'id');
