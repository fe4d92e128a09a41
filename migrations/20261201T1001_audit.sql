-- module: audit
-- then: functions and policies
-- The record: append-only, one strict hash chain, one open batch.
create table app.audit_actions (
  action                text primary key check (action ~ '^[A-Z][A-Z0-9_]{2,39}$'),
  customer_facing       boolean not null,
  actor_roles           text[] not null,
  on_behalf_of_rule     text not null check (on_behalf_of_rule in ('required_from_admin', 'forbidden', 'optional', 'required')),
  staff_only            boolean -- who reads its entries: null, not said, counts as staff only
);
grant select on app.audit_actions to fx_app, fx_writer, fx_auditor, fx_platform, fx_worker;
insert into fx.tables values ('audit_actions', 'audit', 'platform', null);

create table app.merkle_batches (
  id            bigint primary key,
  opened_at     timestamptz not null,
  sealed_at     timestamptz,
  state         text not null check (state in ('COLLECTING', 'SEALED', 'ANCHORED')),
  first_seq     bigint,
  last_seq      bigint,
  tree_size     bigint,
  root          bytea check (length(root) = 32),
  tx_hash       text,
  block_number  bigint,
  anchored_at   timestamptz,
  checkpoint    text, -- the signed note over (tree_size, root): null until it is signed, then for ever the same
  check ((state = 'COLLECTING') = (sealed_at is null)),
  check ((state = 'ANCHORED') = (tx_hash is not null and block_number is not null and anchored_at is not null)),
  check (state = 'COLLECTING' or (first_seq is not null and last_seq >= first_seq and tree_size = last_seq and root is not null)),
  check (checkpoint is null or state <> 'COLLECTING')
);
create unique index merkle_batches_one_open on app.merkle_batches ((true)) where state = 'COLLECTING';
insert into fx.tables values ('merkle_batches', 'audit', 'platform', null);
grant select on app.merkle_batches to fx_app, fx_linker, fx_sealer, fx_auditor, fx_platform;
grant insert,
      update (id, opened_at, sealed_at, state, first_seq, last_seq, tree_size, root, tx_hash, block_number, anchored_at,
              checkpoint) on app.merkle_batches to fx_sealer;

-- No foreign keys to the action and the batch: each would lock and rewrite the row that it points to, at every entry, under
-- the chain's lock. fx.change looks the action up and fx.link the open batch, and the triggers in audit-guards keep both from
-- disappearing afterwards.
create table app.audit_entries (
  seq              bigint primary key check (seq > 0),
  id               text not null unique,
  "timestamp"      timestamptz not null,
  action           text not null,
  actor            text not null,
  actor_role       text not null,
  on_behalf_of     text,
  tenant_id        text not null,
  resource         text not null,
  request_id       text not null,
  diff             json not null, -- json, not jsonb: the canonical text is what was hashed
  prev_hash        bytea not null check (length(prev_hash) = 32),
  hash             bytea not null check (length(hash) = 32),
  merkle_batch_id  bigint not null
);
create index audit_entries_of_resource on app.audit_entries (tenant_id, resource, seq);
-- Nobody asks for the entries of a batch but by first_seq … last_seq, so there is no index by batch.
insert into fx.tables values ('audit_entries', 'audit', 'tenant', null);
alter table app.audit_entries enable row level security;
alter table app.audit_entries force row level security;
grant select on app.audit_entries to fx_app, fx_auditor;
grant select (seq, id, hash, merkle_batch_id) on app.audit_entries to fx_sealer;
grant select (seq, hash), insert on app.audit_entries to fx_linker;
-- Not even the owner may change what is written; the trigger in audit-guards stops a superuser who forgets himself.
revoke update, delete, truncate on app.audit_entries from fx_owner;

create table app.chain_anchors (
  batch_id      bigint primary key references app.merkle_batches,
  tree_size     bigint not null,
  root          bytea not null check (length(root) = 32),
  tx_hash       text not null,
  block_number  bigint not null,
  anchored_at   timestamptz not null,
  receipt       json -- null until a node gave the proof against its block's hash
);
insert into fx.tables values ('chain_anchors', 'audit', 'platform', null);
grant select on app.chain_anchors to fx_app, fx_sealer, fx_auditor, fx_platform;
grant insert, update (receipt) on app.chain_anchors to fx_sealer;

-- Entries of the running transaction, before they are linked at COMMIT. Unlogged: it is empty between transactions.
-- An entry that waits is found by its place (ctid), which fx.change hands to the guard; the deferred trigger holds the row
-- itself, in the order of insertion. So there is nothing to index and nothing to number.
create unlogged table ops.audit_pending (
  xid           xid8 not null,
  id            text not null,
  at            timestamptz not null,
  action        text not null,
  actor         text not null,
  actor_role    text not null,
  on_behalf_of  text,
  tenant_id     text not null,
  resource      text not null,
  request_id    text not null,
  diff          json not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
grant select, insert on ops.audit_pending to fx_writer;
grant select, delete on ops.audit_pending to fx_linker;

insert into app.merkle_batches (id, opened_at, state) values (1, '1970-01-01Z', 'COLLECTING');

-- Which rows an entry of an action may carry (`carries.py` of each module); loaded by `fintokenx db migrate`, held by
-- fx.change.
create table fx.action_carries (
  action      text not null,
  table_name  text not null,
  op          text not null check (op in ('insert', 'update', 'delete')),
  columns     text[] not null, -- of an update, those that may change
  -- always: an entry without such a row is refused; one of: without any of these; may: nothing is asked
  needed      text not null check (needed in ('always', 'one of', 'may')),
  primary key (action, table_name, op)
);
grant select on fx.action_carries to fx_app, fx_writer, fx_auditor, fx_platform;

-- How far an entry's time may be from the database's own clock, both ways. `fintokenx db migrate` writes
-- it by the environment: NULL where business time may stand anywhere (local, sandbox). It is a bound around each
-- transaction's own clock and not around the newest entry: one entry from the year 2099 would then stop all others.
create table fx.entry_window (
  only_row  boolean primary key check (only_row),
  tolerance interval check (tolerance > interval '0')
);
insert into fx.entry_window values (true, null);
grant select on fx.entry_window to fx_writer, fx_auditor;

-- The open log: the Merkle tree as tiles of 256 hashes (C2SP tlog-tiles). What keeps what is published from being
-- rewritten is in repeatable/51_open-log.sql.
create table ops.log_tiles (
  level   smallint not null check (level between 0 and 7),
  index   bigint not null check (index >= 0),
  hashes  bytea not null check (octet_length(hashes) between 32 and 8192 and octet_length(hashes) % 32 = 0),
  primary key (level, index)
);
alter table ops.log_tiles alter column hashes set storage external; -- hashes do not compress, and prefixes are read
alter table ops.log_tiles enable row level security;
alter table ops.log_tiles force row level security;
grant select on ops.log_tiles to fx_sealer, fx_auditor;
grant insert, update (level, index, hashes) on ops.log_tiles to fx_sealer;
