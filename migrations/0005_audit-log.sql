-- The open log: the Merkle tree as tiles of 256 hashes (C2SP tlog-tiles), the signed checkpoint of every batch, the
-- receipt of every anchor. Runs as fx_owner. What keeps them from being rewritten is in repeatable/51_open-log.sql.
create table ops.log_tiles (
  level   smallint not null check (level between 0 and 7),
  index   bigint not null check (index >= 0),
  hashes  bytea not null check (octet_length(hashes) between 32 and 8192 and octet_length(hashes) % 32 = 0),
  primary key (level, index)
);
alter table ops.log_tiles alter column hashes set storage external; -- hashes do not compress, and prefixes are read
alter table ops.log_tiles enable row level security;
alter table ops.log_tiles force row level security;
grant usage on schema ops to fx_auditor;
grant select on ops.log_tiles to fx_sealer, fx_auditor;
grant insert, update on ops.log_tiles to fx_sealer;

alter table app.merkle_batches
  drop column frontier, -- the tiles hold it
  add column checkpoint text, -- the signed note over (tree_size, root): null until it is signed, then for ever the same
  add check (checkpoint is null or state <> 'COLLECTING');

alter table app.chain_anchors add column receipt json; -- null until a node gave the proof against its block's hash
grant update (receipt) on app.chain_anchors to fx_sealer;
