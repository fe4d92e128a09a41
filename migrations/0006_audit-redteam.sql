-- Runs of the red team: that they happened, what they found, and where the signed report lies (TI-09). Runs as fx_owner.
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
