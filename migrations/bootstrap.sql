-- Run once per database by an administrator (superuser), before the migrations. Idempotent.
-- Roles: nobody who serves requests is superuser, owner or BYPASSRLS (TI-03); `fintokenx` refuses to boot otherwise.
-- Passwords are set apart from this file, from the vault.
do $$
declare
  wanted record;
begin
  for wanted in
    select * from (values
      ('fx_owner',    'nologin'), -- owns every object; nobody logs in as it
      ('fx_writer',   'nologin'), -- owns fx.change and alone may write domain rows
      ('fx_linker',   'nologin'), -- owns fx.link, which alone appends to the chain
      ('fx_bypass',   'nologin'), -- for the two-step bypass to come; no policy names it yet
      ('fx_migrator', 'login'),   -- runs migrations as fx_owner
      ('fx_app',      'login'),   -- serves requests and jobs, pinned to one tenant per transaction
      ('fx_worker',   'login'),   -- claims jobs of all tenants; sees nothing else
      ('fx_sealer',   'login'),   -- seals batches: sequence numbers and hashes only
      ('fx_auditor',  'login'),   -- reads the whole record, changes nothing; used by `fintokenx audit`
      ('fx_platform', 'login')    -- for platform administrators' own pool to come
    ) as roles(role_name, login)
  loop
    if not exists (select from pg_roles where rolname = wanted.role_name) then
      execute format('create role %I %s nosuperuser nocreatedb nocreaterole noinherit nobypassrls',
                     wanted.role_name, wanted.login);
    end if;
  end loop;
end $$;

grant fx_owner to fx_migrator with inherit false, set true;
grant fx_writer, fx_linker to fx_owner with inherit true, set true; -- to hand them their functions, and replace those

do $$
begin
  execute format('revoke all on database %I from public', current_database());
  -- Temporary tables only by the owner's own function (fx.shadow_open): nobody who logs in may put things into pg_temp.
  execute format('grant create, temporary on database %I to fx_owner', current_database());
  execute format('grant connect on database %I to fx_migrator, fx_app, fx_worker, fx_sealer, fx_auditor, fx_platform',
                 current_database());
  execute format('alter database %I set search_path = app, fx', current_database());
  execute format('alter database %I set timezone = %L', current_database(), 'UTC');
end $$;
revoke all on schema public from public;
-- All serving sessions share one role, so each could read the text of what the others run.
revoke execute on function pg_catalog.pg_stat_get_activity(integer), pg_catalog.pg_stat_get_backend_activity(integer)
  from public;

-- No DDL on the record outside a migration, whoever asks. By session, not by object name: an event trigger that
-- matches names misses ALTER TABLE … RENAME and CREATE RULE (design/postgres.md §2e).
create or replace function public.fx_only_the_migrator_changes_the_schema() returns event_trigger
language plpgsql set search_path = '' as $$
begin
  if session_user <> 'fx_migrator' and not (select rolsuper from pg_catalog.pg_roles where rolname = session_user) then
    raise exception 'DDL (%) is for migrations only', tg_tag using errcode = '42501';
  end if;
end $$;
drop event trigger if exists fx_guard_ddl;
create event trigger fx_guard_ddl on ddl_command_start
  when tag in ('ALTER TABLE', 'DROP TABLE', 'CREATE RULE', 'CREATE TRIGGER', 'DROP TRIGGER', 'ALTER TRIGGER',
               'CREATE POLICY', 'ALTER POLICY', 'DROP POLICY', 'CREATE FUNCTION', 'ALTER FUNCTION', 'DROP FUNCTION')
  execute function public.fx_only_the_migrator_changes_the_schema();
