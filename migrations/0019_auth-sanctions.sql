-- On what ground a subject is frozen: a true hit on a sanctions list reaches the chain's own list (MO-06, CH-14). Runs
-- as fx_owner. NULL: not frozen, or by order of the MLRO.
alter table app.subjects add column freeze_ground text check (freeze_ground = 'SANCTIONS');
alter table app.subjects add check (freeze_ground is null or state = 'FROZEN');
create index subjects_sanctioned on app.subjects (tenant_id, id) where freeze_ground is not null;
