-- Whose data was destroyed, by whom and why (AD-14, CO-09). Runs as fx_owner.
create table app.erasures (
  tenant_id      text not null,
  id             text not null check (id ~ '^era_[0-9a-z]{26}$'),
  subject_id     text not null,
  erased_at      timestamptz not null,
  erased_by      text not null,
  reason_sealed  text not null check (reason_sealed like 'sealed:%'), -- under a key of its own: the person's is gone
  primary key (tenant_id, id),
  unique (tenant_id, subject_id), -- once and for all
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id)
);
select fx.protect('erasures', 'auth');
create trigger b_for_ever before update or delete on app.erasures for each row execute function fx.deny();
alter table app.erasures enable always trigger b_for_ever;

-- Whoever is erased keeps nothing that tells who it was.
alter table app.subjects add check (state <> 'ERASED'
  or (representative_name_sealed is null and email_sealed is null and email_index is null));
