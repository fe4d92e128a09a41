-- Job lanes: slow work of one kind delays no other. Runs as fx_owner.

-- Which lane each name has, as the worker's code declares it; written when a worker starts. Nothing of a tenant.
create table ops.job_lanes (
  name  text primary key check (length(name) <= 100),
  lane  text collate "C" not null
);
grant select on ops.job_lanes to fx_app, fx_worker;
grant insert, update (lane) on ops.job_lanes to fx_worker;

-- A name that nobody has declared is kept in the lane of what concerns the outside, until somebody knows it. Which names
-- there are is said in kernel/jobs/lanes.py; a lane that no process serves is waited for.
alter table ops.jobs add column lane text collate "C" not null default 'outbound' check (length(lane) <= 40);
alter table ops.jobs alter column lane drop default;
grant update (lane) on ops.jobs to fx_worker;

-- A tenant's SQL does not choose: the lane is that of the name.
create function fx.lane_of_job() returns trigger language plpgsql set search_path = '' as $$
begin
  new.lane := coalesce((select l.lane from ops.job_lanes l where l.name = new.name), 'outbound');
  return new;
end $$;
create trigger a_lane before insert on ops.jobs for each row execute function fx.lane_of_job();
alter table ops.jobs enable always trigger a_lane;

-- The worker goes from tenant to tenant within each lane: one probe each (ADR 0020).
drop index ops.jobs_of_turn;
create index jobs_of_lane on ops.jobs (lane, tenant_id, run_at) where state = 'READY';
