-- The books against the bank's own balance (SE-17, ADR 0014). Runs as fx_owner.
alter table app.statement_readings add column balance_gap_since timestamptz; -- first of the tries that told no balance

-- What the bank has beyond the books (or lacks), while nothing that is on its way explains it.
create table app.balance_differences (
  tenant_id         text not null,
  id                text not null check (id ~ '^dif_[0-9a-z]{26}$'),
  account           text not null check (account ~ '^[0-9]{14}$'),
  bank_pence        bigint not null check (bank_pence between -9007199254740991 and 9007199254740991),
  books_pence       bigint not null check (books_pence between -9007199254740991 and 9007199254740991),
  state             text not null,
  opened_at         timestamptz not null,
  closed_at         timestamptz,
  primary key (tenant_id, id),
  check ((state = 'OPEN') = (closed_at is null)),
  check ((state = 'CLOSED') = (bank_pence = books_pence))
);
create unique index balance_differences_one_open on app.balance_differences (tenant_id, account) where state = 'OPEN';
select fx.protect('balance_differences', 'settlement', 'balance_difference');
create trigger b_for_ever before delete on app.balance_differences for each row execute function fx.deny();
