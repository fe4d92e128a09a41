-- An alert whose cause is gone ends by itself (statemachines §12): nobody closed it and nobody found anything. Runs as
-- fx_owner. The checks of 0012 knew one end only.
do $$
declare
  known record;
begin
  for known in
    select conname from pg_constraint
     where conrelid = 'app.alerts'::regclass and contype = 'c'
       and (pg_get_constraintdef(oid) like '%''CLOSED''%' or pg_get_constraintdef(oid) like '%(finding IS NULL)%')
  loop
    execute format('alter table app.alerts drop constraint %I', known.conname);
  end loop;
end $$;
alter table app.alerts
  add check ((state in ('CLOSED', 'AUTO_CLEARED')) = (closed_at is not null)),
  add check ((state = 'CLOSED') = (finding is not null));
