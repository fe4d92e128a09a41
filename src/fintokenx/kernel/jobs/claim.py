"""How the worker chooses among the jobs of all tenants: they take turns, and it costs the same however many wait.

In each lane that has free places, the tenants that have jobs are found one after the other in the index (lane, tenant,
time), from the one that was served last, round and round, and only until enough of them have something due. So neither
the jobs that a busy tenant has waiting nor the tenants that have nothing due stand between a job and its worker
(ADR 0020), nor does anything in another lane (ADR 0026). All lanes are looked at in one statement.
"""

from __future__ import annotations

from typing import Final

CLAIM: Final = """
with lane as (
    select * from unnest($4::text[], $5::bigint[], $6::text[], $7::bigint[], $8::bigint[], $9::jsonb[])
        as l (name, free, served, per_tenant, kept, running)
), chosen as materialized (
    select lane.name as lane, found.id, found.place from lane cross join lateral (
with recursive turns as (
    select 0 as place, lane.served as tenant_id, null::timestamptz as first_at, false as around
  union all
    -- One probe of the index finds the next tenant that has jobs, and when its first one is due.
    select turn.place + 1, next.tenant_id, next.run_at, next.around
      from turns turn cross join lateral (
        (select tenant_id, run_at, turn.around as around from ops.jobs
          where state = 'READY' and jobs.lane = lane.name and tenant_id > turn.tenant_id
          order by tenant_id, run_at limit 1)
        union all
        (select tenant_id, run_at, true from ops.jobs
          where not turn.around and state = 'READY' and jobs.lane = lane.name and tenant_id <= lane.served
          order by tenant_id, run_at limit 1)
        limit 1) next
     where not (next.around and next.tenant_id > lane.served)
), due as (
    -- The recursion goes no further than this limit asks for. A limit inside keeps the planner from joining.
    select turns.place, turns.tenant_id, already.running
      from turns
           cross join lateral (
             select coalesce((lane.running ->> turns.tenant_id)::integer, 0) as running) already
           cross join lateral (
             select from ops.jobs j
              where j.state = 'READY' and j.lane = lane.name and j.tenant_id = turns.tenant_id and j.run_at <= $3
                and (j.leased_until is null or j.leased_until < clock_timestamp())
              order by j.tenant_id, j.run_at limit 1) one
     where turns.first_at <= $3
       -- Where the places that are free are kept, whoever may have none of them must not stand before who may.
       and (already.running = 0 or already.running < lane.per_tenant and lane.free > lane.kept)
     limit lane.free
), waiting as materialized (
    select due.place, first.id, due.running + row_number() over (partition by due.place order by first.run_at) as nth
      from due cross join lateral (
             select j.id, j.run_at from ops.jobs j
              where j.state = 'READY' and j.lane = lane.name and j.tenant_id = due.tenant_id and j.run_at <= $3
                and (j.leased_until is null or j.leased_until < clock_timestamp())
              order by j.tenant_id, j.run_at limit least(lane.free, lane.per_tenant - due.running)
                for update skip locked) first
), in_turn as (
    -- Whose turn it is, and before a second job of one tenant a first one of the next.
    select id, place, nth, row_number() over (order by nth, place) as rank from waiting
)
    -- The last places are for tenants of whom nothing runs: a few slow ones must not keep all others waiting.
    select id, place from in_turn where rank <= lane.free and (nth = 1 or rank <= lane.free - lane.kept)
    ) found
)
update ops.jobs j
   set lease = $1, leased_until = clock_timestamp() + make_interval(secs => $2),
       attempts = least(j.attempts + 1, 1000000), first_run_at = coalesce(j.first_run_at, $3)
  from chosen where j.id = chosen.id
returning chosen.place, j.lane, j.id, j.tenant_id, j.name, j.payload::text as payload,
          j.payload ? 'every_seconds' as periodic, j.attempts, j.lease, j.first_run_at
"""
"""$1 lease, $2 seconds, $3 now; then for each lane that has free places $4 its name, $5 how many are free, $6 the
tenant that was served last, $7 running jobs of one tenant at most, $8 how many places are kept for tenants of whom
nothing runs, $9 how many jobs run of each tenant. The payload is text: one that nobody can read is its own job's
trouble alone."""
