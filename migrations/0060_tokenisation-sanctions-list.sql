-- That the chain's sanctions list is complete is confirmed by a promise like any other (CH-14, TK-12). Runs as fx_owner.
-- It is about no token and no wallet, and there is one list: only the platform's own tenant confirms it, once at a time.
alter table app.chain_tx drop constraint chain_tx_kind_check;
alter table app.chain_tx add constraint chain_tx_kind_check
  check (kind in ('mint', 'transfer', 'burn', 'identity', 'flag', 'recovery', 'removal', 'refresh'));
alter table app.chain_tx add constraint chain_tx_refresh_is_the_platforms
  check (kind <> 'refresh' or tenant_id = 'tnt_fintokenx');
create unique index chain_tx_one_refresh_at_a_time on app.chain_tx (tenant_id, resource)
  where kind = 'refresh' and state not in ('CONFIRMED', 'SUPERSEDED');
