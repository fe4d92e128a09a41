-- Versions of the credentials that the platform presents to others (P-21). Values lie in the vault and never here.
create table app.credential_versions (
  tenant_id   text not null references app.tenants (tenant_id),
  name        text not null check (name ~ '^[A-Za-z0-9._/-]{1,150}$'),
  version     integer not null check (version > 1), -- the first one comes with the installation
  stored_as   text not null check (stored_as ~ '^[A-Za-z0-9._/-]{1,200}$'), -- under which name the vault has the value
  rotated_at  timestamptz not null,
  rotated_by  text not null check (rotated_by ~ '^sub_[0-9a-z]{26}$'),
  primary key (tenant_id, name, version),
  check (starts_with(stored_as, name || '/'))
);
select fx.protect('credential_versions', 'auth');
create trigger b_for_ever before update or delete on app.credential_versions
  for each row execute function fx.deny();
alter table app.credential_versions enable always trigger b_for_ever;
