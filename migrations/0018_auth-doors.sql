-- What an administrator may not say of themselves: when the door opened, and who asked, approved and came in. Runs as
-- fx_owner. The hour in an entry comes from the platform's clock, which whoever holds its password can hand in.
create table ops.admin_doors (
  tenant_id      text not null,
  admin_session  text not null,
  opened_clock   timestamptz not null, -- the database's own
  primary key (tenant_id, admin_session)
);
alter table ops.admin_doors enable row level security;
alter table ops.admin_doors force row level security;
grant select, insert on ops.admin_doors to fx_fingerprint;
create policy fingerprint_keeps on ops.admin_doors for all to fx_fingerprint using (true) with check (true);
