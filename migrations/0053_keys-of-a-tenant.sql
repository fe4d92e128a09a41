-- Every tenant's data keys are wrapped by a key of that tenant's own in the vault, and each row says by which: what was
-- wrapped by the key that all tenants shared is wrapped again by a job (ADR 0022). Runs as fx_owner.
alter table ops.subject_keys add column wrapped_by text default 'subjects/kek',
  add check (wrapped_key is null or wrapped_by is not null);
alter table ops.tenant_keys add column wrapped_by text default 'blobs/kek',
  add check (wrapped_key is null or wrapped_by is not null);
alter table ops.subject_keys alter column wrapped_by drop default;
alter table ops.tenant_keys alter column wrapped_by drop default;
grant update (wrapped_by) on ops.subject_keys, ops.tenant_keys to fx_app;

create or replace function fx.only_shred() returns trigger language plpgsql set search_path = '' as $$
-- A key is destroyed, once, or wrapped again by its tenant's own key, once; nothing else ever happens to it.
begin
  if old.shredded_at is null and new.shredded_at is null and new.wrapped_key is not null
     and old.wrapped_by <> new.wrapped_by and new.wrapped_by = 'tenant/' || new.tenant_id || '/wrap' then
    return new;
  end if;
  if old.shredded_at is not null or new.shredded_at is null then
    raise exception 'a key of % can only be destroyed, once', tg_table_name using errcode = '42501';
  end if;
  return new;
end $$;
