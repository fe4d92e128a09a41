-- The record: append-only, one strict hash chain, one open batch. Runs as fx_owner.
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
  frontier      bytea[], -- right edge of the RFC 6962 tree, so that the next seal costs O(batch)
  tx_hash       text,
  block_number  bigint,
  anchored_at   timestamptz,
  check ((state = 'COLLECTING') = (sealed_at is null)),
  check ((state = 'ANCHORED') = (tx_hash is not null and block_number is not null and anchored_at is not null)),
  check (state = 'COLLECTING' or (first_seq is not null and last_seq >= first_seq and tree_size = last_seq and root is not null))
);
create unique index merkle_batches_one_open on app.merkle_batches ((true)) where state = 'COLLECTING';
insert into fx.tables values ('merkle_batches', 'audit', 'platform', null);
grant select on app.merkle_batches to fx_app, fx_linker, fx_sealer, fx_auditor, fx_platform;
grant insert, update on app.merkle_batches to fx_sealer;

create table app.audit_entries (
  seq              bigint primary key check (seq > 0),
  id               text not null unique,
  "timestamp"      timestamptz not null,
  action           text not null references app.audit_actions,
  actor            text not null,
  actor_role       text not null,
  on_behalf_of     text,
  tenant_id        text not null,
  resource         text not null,
  request_id       text not null,
  diff             json not null, -- json, not jsonb: the canonical text is what was hashed
  prev_hash        bytea not null check (length(prev_hash) = 32),
  hash             bytea not null check (length(hash) = 32),
  merkle_batch_id  bigint not null references app.merkle_batches
);
create index audit_entries_of_resource on app.audit_entries (tenant_id, resource, seq);
create index audit_entries_of_batch on app.audit_entries (merkle_batch_id, seq);
insert into fx.tables values ('audit_entries', 'audit', 'tenant', null);
alter table app.audit_entries enable row level security;
alter table app.audit_entries force row level security;
grant select on app.audit_entries to fx_app, fx_auditor;
grant select (seq, id, hash, merkle_batch_id) on app.audit_entries to fx_sealer;
grant select (seq, hash), insert on app.audit_entries to fx_linker;
-- Not even the owner may change what is written; the trigger below stops a superuser who forgets himself.
revoke update, delete, truncate on app.audit_entries from fx_owner;

create table app.chain_anchors (
  batch_id      bigint primary key references app.merkle_batches,
  tree_size     bigint not null,
  root          bytea not null check (length(root) = 32),
  tx_hash       text not null,
  block_number  bigint not null,
  anchored_at   timestamptz not null
);
insert into fx.tables values ('chain_anchors', 'audit', 'platform', null);
grant select on app.chain_anchors to fx_app, fx_sealer, fx_auditor, fx_platform;
grant insert on app.chain_anchors to fx_sealer;

-- Entries of the running transaction, before they are linked at COMMIT. Unlogged: it is empty between transactions.
create unlogged table ops.audit_pending (
  n             bigint generated always as identity primary key,
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
create index audit_pending_of_transaction on ops.audit_pending (xid);
grant select, insert on ops.audit_pending to fx_writer;
grant select, delete on ops.audit_pending to fx_linker;

insert into app.merkle_batches (id, opened_at, state) values (1, '1970-01-01Z', 'COLLECTING');
