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
      ('fx_fingerprint', 'nologin'), -- owns the two-step bypass: writes its fingerprint, and judges whether there is one
      ('fx_bypass',   'nologin'), -- reads across tenants, while a bypass is open and for nobody else (TI-07)
      ('fx_migrator', 'login'),   -- runs migrations as fx_owner
      ('fx_app',      'login'),   -- serves requests and jobs, pinned to one tenant per transaction
      ('fx_worker',   'login'),   -- claims jobs of all tenants; sees nothing else
      ('fx_sealer',   'login'),   -- seals batches: sequence numbers and hashes only
      ('fx_auditor',  'login'),   -- reads the whole record, changes nothing; used by `fintokenx audit`
      ('fx_platform', 'login')    -- platform administrators' own pool: sees nothing but through fx_bypass
    ) as roles(role_name, login)
  loop
    if not exists (select from pg_roles where rolname = wanted.role_name) then
      execute format('create role %I %s nosuperuser nocreatedb nocreaterole noinherit nobypassrls',
                     wanted.role_name, wanted.login);
    end if;
  end loop;
end $$;

grant fx_owner to fx_migrator with inherit false, set true;
grant fx_writer, fx_linker, fx_fingerprint to fx_owner with inherit true, set true; -- to hand them their functions, and replace those
grant fx_bypass to fx_platform with inherit false, set true; -- SET ROLE alone shows no row: see 15_bypass.sql

do $$
declare
  serving text;
begin
  execute format('revoke all on database %I from public', current_database());
  -- Temporary tables only by the owner's own function (fx.shadow_open): nobody who logs in may put things into pg_temp.
  execute format('grant create, temporary on database %I to fx_owner', current_database());
  execute format('grant connect on database %I to fx_migrator, fx_app, fx_worker, fx_sealer, fx_auditor, fx_platform',
                 current_database());
  execute format('alter database %I set search_path = app, fx', current_database());
  execute format('alter database %I set timezone = %L', current_database(), 'UTC');
  -- Once set here; now a part of the worker's own sessions (kernel/sessions.py).
  alter role fx_worker reset enable_seqscan;
  alter role fx_worker reset enable_bitmapscan;
  alter role fx_worker reset enable_sort;
  alter role fx_worker reset enable_incremental_sort;
  -- Whoever stops inside a transaction may hold the chain's lock (a deferred trigger takes it), and nobody else commits.
  for serving in select unnest(array['fx_app', 'fx_worker', 'fx_platform']) loop
    execute format('alter role %I set idle_in_transaction_session_timeout = %L', serving, '60s');
  end loop;
end $$;
revoke all on schema public from public;
-- All serving sessions share one role, so each could read the text of what the others run.
revoke execute on function pg_catalog.pg_stat_get_activity(integer), pg_catalog.pg_stat_get_backend_activity(integer)
  from public;
-- A grant of the bypass holds for one server process, known by its number and the moment at which it started.
grant execute on function pg_catalog.pg_stat_get_activity(integer) to fx_fingerprint;
grant pg_read_all_stats to fx_fingerprint with inherit true, set false;

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

-- What no session of ours needs and SQL that is injected into one could use against the others: end or cancel their
-- sessions (they share one role), ask for the chain's lock, leave bytes behind for another tenant, watch who locks what.
-- That lock is still held from the moment an entry is linked until the commit, and SET CONSTRAINTS links it at once: SQL
-- that may record may make the others wait, for as long as its statement runs and for a minute after. The locks of
-- commands are taken by fx.lock, for the pinned tenant: whoever could name a key could make any tenant wait.
do $$
declare
  door regprocedure;
begin
  for door in
    select p.oid::regprocedure from pg_catalog.pg_proc p
     where p.pronamespace = 'pg_catalog'::regnamespace
       and (p.proname in ('pg_terminate_backend', 'pg_cancel_backend', 'pg_lock_status',
                          'lo_create', 'lo_creat', 'lo_from_bytea', 'lo_put', 'lo_open', 'lowrite')
            or p.proname ~ '^pg_(try_)?advisory_(xact_)?lock')
  loop
    execute format('revoke execute on function %s from public', door);
  end loop;
end $$;
grant execute on function pg_catalog.pg_advisory_xact_lock(integer, integer) to fx_linker, fx_sealer; -- the chain's
grant execute on function pg_catalog.pg_advisory_xact_lock(bigint) to fx_owner, fx_migrator; -- fx.lock; one migration at a time
grant execute on function pg_catalog.pg_advisory_xact_lock_shared(bigint) to fx_owner;
-- How much there is of all tenants together, and how fast it grows: counters of tables, the server and the log, sizes.
-- What EXPLAIN and pg_class tell of it still cannot be taken away (docs/redteam.md, "What injected SQL can still learn").
do $$
declare
  door regprocedure;
begin
  for door in
    select p.oid::regprocedure from pg_catalog.pg_proc p
     where p.pronamespace = 'pg_catalog'::regnamespace
       and p.proname ~ '^pg_(stat_get_|(relation|table|total_relation|indexes|database|tablespace)_size$|(current_)?wal_)'
  loop
    execute format('revoke execute on function %s from public', door);
  end loop;
end $$;
-- A grant of the bypass is for one transaction, known by the lock that each transaction holds on itself.
grant execute on function pg_catalog.pg_lock_status() to fx_fingerprint;
