-- module: audit
-- What is published is never rewritten: tiles only grow, checkpoints and receipts are set once.

create or replace function fx.tiles_only_grow() returns trigger language plpgsql set search_path = '' as $$
begin
  if tg_op <> 'UPDATE' or (old.level, old.index) is distinct from (new.level, new.index)
     or octet_length(new.hashes) <= octet_length(old.hashes)
     or substring(new.hashes from 1 for octet_length(old.hashes)) <> old.hashes then
    raise exception 'log_tiles is append-only (% denied)', tg_op using errcode = '42501';
  end if;
  return new;
end $$;

drop trigger if exists a_only_grows on ops.log_tiles;
create trigger a_only_grows before update or delete on ops.log_tiles
  for each row execute function fx.tiles_only_grow();
drop trigger if exists a_no_truncate on ops.log_tiles;
create trigger a_no_truncate before truncate on ops.log_tiles for each statement execute function fx.deny();
alter table ops.log_tiles enable always trigger a_only_grows;
alter table ops.log_tiles enable always trigger a_no_truncate;

drop policy if exists sealer_grows on ops.log_tiles;
create policy sealer_grows on ops.log_tiles for all to fx_sealer using (true) with check (true);
drop policy if exists auditor_reads on ops.log_tiles;
create policy auditor_reads on ops.log_tiles for select to fx_auditor using (true);

create or replace function fx.checkpoint_is_set_once() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'batch % is signed or anchored and stays as it is', old.id using errcode = '42501';
end $$;

drop trigger if exists a_checkpoint_once on app.merkle_batches;
create trigger a_checkpoint_once before update on app.merkle_batches
  for each row when (
    (old.checkpoint is not null
     and (new.checkpoint, new.root, new.tree_size, new.first_seq, new.last_seq)
         is distinct from (old.checkpoint, old.root, old.tree_size, old.first_seq, old.last_seq))
    or (old.state = 'ANCHORED'
        and (new.state, new.tx_hash, new.block_number, new.root) is distinct from
            (old.state, old.tx_hash, old.block_number, old.root)))
  execute function fx.checkpoint_is_set_once();
alter table app.merkle_batches enable always trigger a_checkpoint_once;

create or replace function fx.receipt_is_set_once() returns trigger language plpgsql set search_path = '' as $$
begin
  raise exception 'the receipt of anchor % is kept and stays as it is', old.batch_id using errcode = '42501';
end $$;

drop trigger if exists a_receipt_once on app.chain_anchors;
create trigger a_receipt_once before update on app.chain_anchors
  for each row when (old.receipt is not null and new.receipt::text is distinct from old.receipt::text)
  execute function fx.receipt_is_set_once();
alter table app.chain_anchors enable always trigger a_receipt_once;
