-- module: ledger
-- Double entry under every movement of money (SE-17).
create table app.ledger_accounts (
  tenant_id  text not null references app.tenants (tenant_id),
  code       text not null check (code ~ '^[a-z_]+(:[A-Za-z0-9_-]+)*$'),
  kind       text not null check (kind in ('asset', 'client', 'income', 'expense')),
  opened_at  timestamptz not null,
  primary key (tenant_id, code)
);
select fx.protect('ledger_accounts', 'ledger');

create table app.journals (
  tenant_id  text not null references app.tenants (tenant_id),
  id         text not null,
  kind       text not null,
  resource   text not null,
  currency   text not null check (currency = 'GBP'),
  posted_at  timestamptz not null,
  primary key (tenant_id, id)
);
create index journals_of_resource on app.journals (tenant_id, resource);
select fx.protect('journals', 'ledger');

create table app.journal_lines (
  tenant_id     text not null,
  journal_id    text not null,
  line_no       integer not null check (line_no > 0),
  account_code  text not null,
  debit_pence   bigint not null check (debit_pence between 0 and 9007199254740991),
  credit_pence  bigint not null check (credit_pence between 0 and 9007199254740991),
  primary key (tenant_id, journal_id, line_no),
  foreign key (tenant_id, journal_id) references app.journals (tenant_id, id),
  foreign key (tenant_id, account_code) references app.ledger_accounts (tenant_id, code),
  check ((debit_pence = 0) <> (credit_pence = 0))
);
create index journal_lines_of_account on app.journal_lines (tenant_id, account_code);
select fx.protect('journal_lines', 'ledger');

-- Running balances (credit − debit) of client accounts: derived, kept only so that "never negative" is one row lock
-- and not a sum over history. Not domain state: a replay rebuilds it through the same trigger.
create table ops.client_balances (
  tenant_id      text not null,
  account_code   text not null,
  balance_pence  bigint not null check (balance_pence >= 0),
  primary key (tenant_id, account_code),
  foreign key (tenant_id, account_code) references app.ledger_accounts (tenant_id, code)
);
alter table ops.client_balances enable row level security;
alter table ops.client_balances force row level security;
create policy tenant_only on ops.client_balances for all to fx_app, fx_writer
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select on ops.client_balances to fx_app;
grant select, insert, update on ops.client_balances to fx_writer;

create function fx.journal_must_balance() returns trigger
language plpgsql set search_path = '' as $$
-- Runs as fx_writer, under the tenant's pin. A posted line is final: corrections are contra journals.
begin
  if (select sum(l.debit_pence) <> sum(l.credit_pence) from app.journal_lines l
       where l.tenant_id = new.tenant_id and l.journal_id = new.journal_id) then
    raise exception 'journal % does not balance', new.journal_id using errcode = 'FX015';
  end if;
  return null;
end $$;
create constraint trigger b_must_balance after insert on app.journal_lines
  deferrable initially deferred for each row execute function fx.journal_must_balance();

create function fx.keep_client_balance() returns trigger
language plpgsql set search_path = '' as $$
begin
  if (select a.kind from app.ledger_accounts a where a.tenant_id = new.tenant_id and a.code = new.account_code) = 'client' then
    -- Not INSERT … ON CONFLICT: it checks the proposed row, a bare debit, before it looks for the standing one.
    -- Accounts are opened under a lock (ledger.store.lock_accounts), so two first lines cannot race here.
    update ops.client_balances as b set balance_pence = b.balance_pence + new.credit_pence - new.debit_pence
     where b.tenant_id = new.tenant_id and b.account_code = new.account_code;
    if not found then
      insert into ops.client_balances (tenant_id, account_code, balance_pence)
      values (new.tenant_id, new.account_code, new.credit_pence - new.debit_pence);
    end if;
  end if;
  return null;
exception when check_violation then
  raise exception 'client account % would go negative', new.account_code using errcode = 'FX011';
end $$;
create trigger c_keep_client_balance after insert on app.journal_lines
  for each row execute function fx.keep_client_balance();

create function fx.journals_are_final() returns trigger language plpgsql set search_path = '' as $$
begin raise exception 'journals are never edited' using errcode = 'FX012'; end $$;
create trigger d_final before update or delete on app.journals for each row execute function fx.journals_are_final();
create trigger d_final before update or delete on app.journal_lines for each row execute function fx.journals_are_final();
create trigger d_final before update or delete on app.ledger_accounts for each row execute function fx.journals_are_final();
grant execute on function fx.journal_must_balance(), fx.keep_client_balance(), fx.journals_are_final() to fx_writer;
