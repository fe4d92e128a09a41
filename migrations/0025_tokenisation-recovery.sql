-- Recovery of a lost wallet (CH-17), and the chain's sanctions list (CH-14). Runs as fx_owner.
--
-- A subject has one wallet that is in use; those that it lost stay as history, for entries and chain name them.
alter table app.wallets drop constraint wallets_tenant_id_subject_id_key;
create unique index wallets_one_in_use on app.wallets (tenant_id, subject_id) where state not in ('LOST', 'RETIRED');
alter table app.wallets add unique (tenant_id, subject_id, id);
alter table app.wallets add column flagged_at timestamptz; -- since when SanctionsRule names it
alter table app.wallets drop constraint wallets_check;
alter table app.wallets add constraint wallets_check check (state = 'LOST' or (state = 'REGISTERED') = (claims > 0));

create table app.wallet_recoveries (
  tenant_id       text not null,
  id              text not null check (id ~ '^rec_[0-9a-z]{26}$'),
  subject_id      text not null,
  lost_wallet_id  text not null,
  new_wallet_id   text,
  case_id         text not null,
  reason          text not null check (length(reason) between 20 and 500),
  state           text not null,
  requested_at    timestamptz not null,
  requested_by    text not null,
  decided_at      timestamptz,
  decided_by      text,
  completed_at    timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id, lost_wallet_id) references app.wallets (tenant_id, subject_id, id),
  foreign key (tenant_id, subject_id, new_wallet_id) references app.wallets (tenant_id, subject_id, id), -- the same subject
  foreign key (tenant_id, case_id) references app.review_queue (tenant_id, id),
  unique (tenant_id, case_id),
  check (new_wallet_id <> lost_wallet_id),
  check (decided_by <> requested_by), -- four eyes
  check ((state = 'REQUESTED') = (decided_at is null)),
  check ((decided_at is null) = (decided_by is null)),
  check ((state in ('MOVING', 'RETIRING', 'COMPLETED')) = (new_wallet_id is not null)),
  check ((state = 'COMPLETED') = (completed_at is not null))
);
create unique index wallet_recoveries_one_open on app.wallet_recoveries (tenant_id, subject_id)
  where state not in ('DECLINED', 'COMPLETED');
create index wallet_recoveries_by_state on app.wallet_recoveries (tenant_id, state, id);
select fx.protect('wallet_recoveries', 'tokenisation', 'wallet recovery');
create trigger b_for_ever before delete on app.wallet_recoveries for each row execute function fx.deny();
alter table app.wallet_recoveries enable always trigger b_for_ever;

-- What a chain transaction is about: a token, or a wallet.
alter table app.chain_tx drop constraint chain_tx_kind_check;
alter table app.chain_tx drop constraint chain_tx_check;
alter table app.chain_tx drop constraint chain_tx_check1;
alter table app.chain_tx add constraint chain_tx_kind_check
  check (kind in ('mint', 'transfer', 'burn', 'identity', 'flag', 'recovery', 'removal'));
alter table app.chain_tx add constraint chain_tx_check
  check ((kind in ('identity', 'flag', 'recovery', 'removal')) = (wallet_id is not null));
alter table app.chain_tx add constraint chain_tx_check1
  check ((kind in ('mint', 'transfer', 'burn')) = (token_reference is not null));
drop index app.chain_tx_one_identity_at_a_time;
create unique index chain_tx_one_word_of_a_wallet_at_a_time on app.chain_tx (tenant_id, wallet_id)
  where kind in ('identity', 'flag') and state not in ('CONFIRMED', 'SUPERSEDED');
create unique index chain_tx_one_step_of_a_recovery_at_a_time on app.chain_tx (tenant_id, wallet_id)
  where kind in ('recovery', 'removal') and state <> 'CONFIRMED';
drop index app.chain_tx_to_repeat;
create index chain_tx_to_repeat on app.chain_tx (tenant_id, submitted_at)
  where state = 'REVERTED' and kind in ('mint', 'burn', 'recovery', 'removal');
