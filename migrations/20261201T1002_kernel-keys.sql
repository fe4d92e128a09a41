-- module: kernel
-- Data keys, wrapped by the vault: one per person (sealing, AD-14), some per tenant (blobs, SB-01). They are wrapped by a key
-- of the tenant's own in the vault, and each row says by which (wrapped_by): what was wrapped by the key that all tenants
-- shared once is wrapped again by a job (ADR 0022).
-- Not domain state: no entry explains a key, and a replay needs none. A key is made once; afterwards it can only be
-- destroyed, and the row that is left keeps anybody from making it again.
create table ops.subject_keys (
  tenant_id    text not null,
  subject_id   text not null,
  wrapped_key  bytea,
  created_at   timestamptz not null,
  shredded_at  timestamptz,
  wrapped_by   text,
  primary key (tenant_id, subject_id),
  check ((wrapped_key is null) = (shredded_at is not null)),
  check (wrapped_key is null or wrapped_by is not null)
);

create table ops.tenant_keys (
  tenant_id    text not null,
  key_id       text not null,
  wrapped_key  bytea,
  created_at   timestamptz not null,
  shredded_at  timestamptz,
  wrapped_by   text,
  primary key (tenant_id, key_id),
  check ((wrapped_key is null) = (shredded_at is not null)),
  check (wrapped_key is null or wrapped_by is not null)
);

create function fx.only_shred() returns trigger language plpgsql set search_path = '' as $$
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

do $$
declare
  relation text;
begin
  foreach relation in array array['subject_keys', 'tenant_keys'] loop
    execute format('alter table ops.%I enable row level security', relation);
    execute format('alter table ops.%I force row level security', relation);
    execute format('create policy tenant_only on ops.%I for all to fx_app '
                   'using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()))', relation);
    execute format('grant select, insert, update (wrapped_key, shredded_at, wrapped_by) on ops.%I to fx_app', relation);
    execute format('create trigger a_only_shred before update on ops.%I '
                   'for each row execute function fx.only_shred()', relation);
    execute format('alter table ops.%I enable always trigger a_only_shred', relation);
  end loop;
end $$;

-- The auditor learns whose keys are destroyed, so that a replay can count what nobody can open any more. Never a key.
grant select (tenant_id, subject_id, shredded_at) on ops.subject_keys to fx_auditor;
create policy auditor_counts on ops.subject_keys for select to fx_auditor using (true);
