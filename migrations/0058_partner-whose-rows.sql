-- A row belongs to a tenant that there is, and a name of another row of the same tenant names one (TI-01, ADR 0003).
-- Runs as fx_owner. What has no key stands in app/redteam/reviewed.py, with its reason.

-- Of the tenant itself, where no other key that is never NULL leads to it.
alter table app.review_queue add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.chain_tx add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.collections add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.admin_sessions add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.alerts add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.ledger_accounts add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.journals add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.reconciliations add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.statement_readings add foreign key (tenant_id) references app.tenants (tenant_id);
alter table app.balance_differences add foreign key (tenant_id) references app.tenants (tenant_id);
alter table ops.login_throttles add foreign key (tenant_id) references app.tenants (tenant_id);

-- Of what the row is about.
alter table ops.admin_doors add foreign key (tenant_id, admin_session) references app.admin_sessions (tenant_id, id);
alter table ops.api_key_use add foreign key (tenant_id, key_id) references app.api_keys (tenant_id, id);
alter table ops.login_codes add foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id);
alter table ops.mfa_tries add foreign key (tenant_id, factor_id) references app.mfa_factors (tenant_id, id);
alter table ops.page_links add foreign key (tenant_id, session_id) references app.sessions (tenant_id, id);
alter table ops.client_balances
  add foreign key (tenant_id, account_code) references app.ledger_accounts (tenant_id, code);
