"""How the worker chooses among the jobs of all tenants: they take turns, and it costs the same however many wait.

All lanes are claimed in one statement. Within each, the tenants that have jobs are found one after the other in the
index (lane, tenant, time), from the one that was served last, round and round, and only until enough of them have
something due. So neither the jobs that a busy tenant has waiting nor the tenants that have nothing due stand between a
job and its worker (ADR 0020), nor do the jobs of another lane (ADR 0026).
"""

from __future__ import annotations

from typing import Final

CLAIM: Final = """
with lanes as materialized (
    select lane, free, served, per_tenant, kept, coalesce($4::jsonb -> lane, '{}') as running
      from unnest($5::text[], $6::bigint[], $7::text[], $8::bigint[], $9::bigint[])
           as wanted (lane, free, served, per_tenant, kept)
     where exists (select from ops.jobs j where j.state = 'READY' and j.lane = wanted.lane) -- empty: one probe
), chosen as materialized (
    select lanes.lane, first.id, first.place from lanes cross join lateral (
      with recursive turns as (
          select 0 as place, lanes.served as tenant_id, null::timestamptz as first_at, false as around
        union all
          -- One probe of the index finds the next tenant that has jobs, and when its first one is due.
          select turn.place + 1, next.tenant_id, next.run_at, next.around
            from turns turn cross join lateral (
              (select tenant_id, run_at, turn.around as around from ops.jobs
                where state = 'READY' and lane = lanes.lane and tenant_id > turn.tenant_id
                order by tenant_id, run_at limit 1)
              union all
              (select tenant_id, run_at, true from ops.jobs
                where not turn.around and state = 'READY' and lane = lanes.lane and tenant_id <= lanes.served
                order by tenant_id, run_at limit 1)
              limit 1) next
           where not (next.around and next.tenant_id > lanes.served)
      ), due as (
          -- The recursion goes no further than this limit asks for. A limit inside keeps the planner from joining.
          select turns.place, turns.tenant_id, already.running
            from turns
                 cross join lateral (
                   select coalesce((lanes.running ->> turns.tenant_id)::integer, 0) as running) already
                 cross join lateral (
                   select from ops.jobs j
                    where j.state = 'READY' and j.lane = lanes.lane and j.tenant_id = turns.tenant_id and j.run_at <= $3
                      and (j.leased_until is null or j.leased_until < clock_timestamp())
                    order by j.tenant_id, j.run_at limit 1) one
           where turns.first_at <= $3
             -- Where the places that are free are kept, whoever may have none of them must not stand before who may.
             and (already.running = 0 or already.running < lanes.per_tenant and lanes.free > lanes.kept)
           limit lanes.free
      ), waiting as materialized (
          select due.place, job.id, due.running + row_number() over (partition by due.place order by job.run_at) as nth
            from due cross join lateral (
                   select j.id, j.run_at from ops.jobs j
                    where j.state = 'READY' and j.lane = lanes.lane and j.tenant_id = due.tenant_id and j.run_at <= $3
                      and (j.leased_until is null or j.leased_until < clock_timestamp())
                    order by j.tenant_id, j.run_at limit least(lanes.free, lanes.per_tenant - due.running)
                    for update skip locked) job
      ), in_turn as (
          -- Whose turn it is, and before a second job of one tenant a first one of the next.
          select id, place, nth, row_number() over (order by nth, place) as rank from waiting
      )
      -- The last places are for tenants of whom nothing runs: a few slow ones must not keep all others waiting.
      select id, place from in_turn where rank <= lanes.free and (nth = 1 or rank <= lanes.free - lanes.kept)
    ) first
)
update ops.jobs j
   set lease = $1, leased_until = clock_timestamp() + make_interval(secs => $2),
       attempts = least(j.attempts + 1, 1000000), first_run_at = coalesce(j.first_run_at, $3)
  from chosen where j.id = chosen.id
returning chosen.place, j.id, j.tenant_id, j.name, j.lane, j.payload::text as payload,
          j.payload ? 'every_seconds' as periodic, j.attempts, j.lease, j.first_run_at
"""
"""$1 lease, $2 seconds, $3 now, $4 how many run of each tenant by lane; then one entry for each lane: $5 its name, $6
jobs at most, $7 the tenant that was served last, $8 running jobs of one tenant at most, $9 how many places are kept for
tenants of whom nothing runs. The payload is text: one that nobody can read is its own job's trouble alone."""
