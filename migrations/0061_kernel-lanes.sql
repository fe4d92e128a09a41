-- Lanes: what is slow in one keeps no other waiting (ADR 0026). Runs as fx_owner.

-- Loaded from the modules' declarations, like the machines.
create table fx.job_lanes (
  name text primary key,
  lane text not null check (lane in ('money', 'chain', 'documents', 'outbound', 'ai'))
);
grant select on fx.job_lanes to fx_app, fx_worker;

alter table ops.jobs add column lane text check (lane in ('money', 'chain', 'documents', 'outbound', 'ai'));
update ops.jobs set lane = 'outbound';
alter table ops.jobs alter column lane set not null;

-- Whoever promises a job does not choose its lane: fx_app may not even name the column.
create trigger lane before insert on ops.jobs for each row execute function fx.put_in_lane();

drop index ops.jobs_of_turn;
create index jobs_of_turn on ops.jobs (lane, tenant_id, run_at) where state = 'READY';
