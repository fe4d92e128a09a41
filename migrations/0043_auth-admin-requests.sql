-- Asking for an admin session tells nothing of whether the customer exists: it is opened for somebody or not at all.
-- Runs as fx_owner.
alter table app.admin_sessions drop constraint admin_sessions_tenant_id_on_behalf_of_fkey;

create function fx.admin_session_opens_for_somebody() returns trigger language plpgsql set search_path = '' as $$
begin
  if new.opened_at is not null and not exists (
       select from app.subjects s where s.tenant_id = new.tenant_id and s.id = new.on_behalf_of) then
    raise exception 'admin session % is for nobody of its tenant', new.id using errcode = 'FX033';
  end if;
  return new;
end $$;
grant execute on function fx.admin_session_opens_for_somebody() to fx_writer;
create trigger b_opens_for_somebody before insert or update on app.admin_sessions
  for each row execute function fx.admin_session_opens_for_somebody();
alter table app.admin_sessions enable always trigger b_opens_for_somebody;
