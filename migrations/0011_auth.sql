-- Who is calling right now: subjects, sessions, magic links, MFA factors (AU-01). Runs as fx_owner.
create table app.subjects (
  tenant_id                   text not null references app.tenants (tenant_id),
  id                          text not null check (id ~ '^sub_[0-9a-z]{26}$'),
  role                        text not null check (role in ('seller', 'buyer', 'lender', 'investor', 'broker',
                                                            'partner_admin', 'mlro', 'compliance', 'platform_admin')),
  legal_name                  text not null check (length(legal_name) between 1 and 200),
  company_number              text check (company_number ~ '^[A-Z0-9]{8}$'),
  representative_name_sealed  text,
  email_sealed                text,
  email_index                 text, -- keyed hash: sign-in looks a subject up without reading the address
  state                       text not null,
  suspension_reason           text check (suspension_reason ~ '^[A-Z][A-Z0-9_]{2,39}$'),
  frozen_from                 text, -- where an unfreeze leads back to
  created_at                  timestamptz not null,
  last_kyc_run_at             timestamptz,
  last_screening_at           timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, company_number, role), -- AU-05
  check ((email_sealed is null) = (email_index is null)),
  check (state <> 'SUSPENDED' or suspension_reason is not null),
  check ((state = 'FROZEN') = (frozen_from is not null))
);
create index subjects_by_email on app.subjects (tenant_id, email_index);
select fx.protect('subjects', 'auth', 'subject');

create function fx.subject_identity_is_fixed() returns trigger language plpgsql set search_path = '' as $$
begin -- AU-04: whoever needs another role is another subject
  if (new.tenant_id, new.id, new.role) is distinct from (old.tenant_id, old.id, old.role) then
    raise exception 'the role of % is fixed', old.id using errcode = 'FX010';
  end if;
  return new;
end $$;
grant execute on function fx.subject_identity_is_fixed() to fx_writer;
create trigger b_identity_is_fixed before update on app.subjects
  for each row execute function fx.subject_identity_is_fixed();
alter table app.subjects enable always trigger b_identity_is_fixed;

create table app.sessions (
  tenant_id   text not null,
  id          text not null,
  subject_id  text not null,
  aal         integer not null check (aal in (1, 2)), -- NIST SP 800-63B authenticator assurance level
  state       text not null,
  created_at  timestamptz not null,
  expires_at  timestamptz not null check (expires_at > created_at),
  revoked_at  timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  check ((state = 'REVOKED') = (revoked_at is not null))
);
create index sessions_live on app.sessions (tenant_id, subject_id) where state = 'ACTIVE';
select fx.protect('sessions', 'auth', 'session');

create table app.magic_link_tokens (
  tenant_id          text not null,
  id                 text not null,
  token_sha256       text not null check (token_sha256 ~ '^[0-9a-f]{64}$'),
  invoice_reference  text not null check (invoice_reference ~ '^FXI-[0-9A-HJKMNP-TV-Z]{7}$'),
  subject_id         text not null,
  state              text not null,
  issued_at          timestamptz not null,
  expires_at         timestamptz not null check (expires_at > issued_at),
  primary key (tenant_id, id),
  unique (tenant_id, token_sha256),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id)
);
create unique index magic_link_tokens_one_live_per_invoice on app.magic_link_tokens (tenant_id, invoice_reference)
  where state in ('ISSUED', 'OPENED');
create index magic_link_tokens_live_of_subject on app.magic_link_tokens (tenant_id, subject_id)
  where state in ('ISSUED', 'OPENED');
select fx.protect('magic_link_tokens', 'auth', 'magic link');

create table app.mfa_factors (
  tenant_id      text not null,
  id             text not null,
  subject_id     text not null,
  kind           text not null check (kind = 'totp'),
  secret_sealed  text not null,
  created_at     timestamptz not null,
  confirmed_at   timestamptz,
  revoked_at     timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id)
);
create unique index mfa_factors_one_live_per_kind on app.mfa_factors (tenant_id, subject_id, kind)
  where revoked_at is null;
select fx.protect('mfa_factors', 'auth');

-- Codes and throttles are not domain state: they live ten minutes and their loss costs one more mail.
create table ops.login_codes (
  tenant_id    text not null,
  subject_id   text not null,
  salt         bytea not null check (length(salt) = 16),
  code_scrypt  bytea not null check (length(code_scrypt) = 32),
  expires_at   timestamptz not null,
  attempts     integer not null check (attempts >= 0),
  used_at      timestamptz,
  primary key (tenant_id, subject_id) -- a newer code replaces the older one
);
create table ops.login_throttles (
  tenant_id    text not null,
  email_index  text not null, -- of any address, known or not: a throttle must not tell them apart
  window_from  timestamptz not null,
  attempts     integer not null check (attempts >= 0),
  codes        integer not null check (codes >= 0),
  primary key (tenant_id, email_index)
);
alter table ops.login_codes enable row level security;
alter table ops.login_codes force row level security;
alter table ops.login_throttles enable row level security;
alter table ops.login_throttles force row level security;
create policy tenant_only on ops.login_codes for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
create policy tenant_only on ops.login_throttles for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select, insert, update on ops.login_codes, ops.login_throttles to fx_app;
