-- module: auth
-- Who is named in an admin session is who recorded it: the entry's own actor, and nobody that a row says.

create or replace function fx.admin_session_names_its_actor() returns trigger language plpgsql set search_path = '' as $$
declare
  place text := current_setting('fx.entry', true);
  recorded_by text;
begin
  if pg_input_is_valid(place, 'tid') then
    select p.actor into recorded_by from ops.audit_pending p
     where p.ctid = place::tid and p.xid = pg_current_xact_id_if_assigned();
  end if;
  if tg_op = 'INSERT' then
    if new.requested_by is distinct from recorded_by then
      raise exception 'admin session % is asked for by who records it', new.id using errcode = 'FX033';
    end if;
  else
    if new.approved_by is distinct from old.approved_by and new.approved_by is distinct from recorded_by then
      raise exception 'admin session % is approved by who records it', new.id using errcode = 'FX033';
    end if;
    if new.opened_at is distinct from old.opened_at and new.requested_by is distinct from recorded_by then
      raise exception 'admin session % is opened by who asked for it', new.id using errcode = 'FX033';
    end if;
  end if;
  return new;
end $$;
grant execute on function fx.admin_session_names_its_actor() to fx_writer;
drop trigger if exists c_names_its_actor on app.admin_sessions;
create trigger c_names_its_actor before insert or update on app.admin_sessions
  for each row execute function fx.admin_session_names_its_actor();
alter table app.admin_sessions enable always trigger c_names_its_actor;

create or replace function fx.open_admin_door() returns trigger
language plpgsql security definer set search_path = '' as $$
begin
  insert into ops.admin_doors (tenant_id, admin_session, opened_clock)
  values (new.tenant_id, new.id, clock_timestamp()) on conflict do nothing; -- once: it is not opened again
  return new;
end $$;
alter function fx.open_admin_door() owner to fx_fingerprint;
grant execute on function fx.open_admin_door() to fx_writer;
drop trigger if exists d_opens_the_door on app.admin_sessions;
create trigger d_opens_the_door before update on app.admin_sessions
  for each row when (old.opened_at is null and new.opened_at is not null) execute function fx.open_admin_door();
alter table app.admin_sessions enable always trigger d_opens_the_door;
