-- module: auth
-- Who is calling right now: subjects, sessions, magic links, MFA factors (AU-01).
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
  freeze_ground               text check (freeze_ground = 'SANCTIONS'), -- a true hit reaches the chain's own list (MO-06,
                                                                       -- CH-14); null: not frozen, or by the MLRO's order
  cleared_at                  timestamptz, -- the older of the answers behind gates 1 and 2 (CH-16); null: never cleared
  primary key (tenant_id, id),
  unique (tenant_id, company_number, role), -- AU-05
  check ((email_sealed is null) = (email_index is null)),
  check (state <> 'SUSPENDED' or suspension_reason is not null),
  check ((state = 'FROZEN') = (frozen_from is not null)),
  -- Whoever is erased keeps nothing that tells who it was.
  check (state <> 'ERASED' or (representative_name_sealed is null and email_sealed is null and email_index is null)),
  check (freeze_ground is null or state = 'FROZEN')
);
create index subjects_by_email on app.subjects (tenant_id, email_index);
create index subjects_sanctioned on app.subjects (tenant_id, id) where freeze_ground is not null;
-- Where the walks look for lost claims.
create index subjects_that_may_hold on app.subjects (tenant_id, id)
  where state = 'ACTIVE' and role in ('lender', 'investor');
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
  primary key (tenant_id, subject_id), -- a newer code replaces the older one
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id)
);
create table ops.login_throttles (
  tenant_id    text not null references app.tenants (tenant_id),
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
grant select, insert, update (tenant_id, subject_id, salt, code_scrypt, expires_at, attempts, used_at)
  on ops.login_codes to fx_app;
grant select, insert, update (tenant_id, email_index, window_from, attempts, codes) on ops.login_throttles to fx_app;

-- Administrators: the sessions in which they come in, and the grants of the bypass.
-- tenant_id is the tenant acted upon, so that its partner sees who came in, for whom and why. The administrators
-- themselves are staff of tnt_fintokenx.
create table app.admin_sessions (
  tenant_id     text not null references app.tenants (tenant_id),
  id            text not null check (id ~ '^ads_[0-9a-z]{26}$'),
  purpose       text not null check (purpose in ('ACT', 'BYPASS')),
  -- AD-16, AD-19: a subject of this tenant; no foreign key, for asking must not tell whether the customer exists
  on_behalf_of  text not null,
  reason        text not null check (length(btrim(reason)) between 20 and 500), -- staff text
  state         text not null,
  requested_by  text not null check (requested_by ~ '^sub_[0-9a-z]{26}$'),
  requested_at  timestamptz not null,
  approved_by   text check (approved_by ~ '^sub_[0-9a-z]{26}$'),
  approved_at   timestamptz,
  opened_at     timestamptz,
  expires_at    timestamptz, -- from when it is opened
  closed_at     timestamptz,
  primary key (tenant_id, id),
  check (approved_by <> requested_by), -- four eyes
  check ((approved_by is null) = (approved_at is null)),
  check ((opened_at is null) = (expires_at is null)),
  check (expires_at > opened_at and expires_at <= opened_at + interval '15 minutes'),
  check (opened_at is null or approved_at is not null),
  check (state <> 'REQUESTED' or approved_at is null),
  check (state <> 'APPROVED' or (approved_at is not null and opened_at is null)),
  check (state not in ('OPEN', 'CLOSED') or opened_at is not null),
  check ((state = 'CLOSED') = (closed_at is not null))
);
select fx.protect('admin_sessions', 'auth', 'admin session');
create index admin_sessions_open on app.admin_sessions (tenant_id, requested_by, on_behalf_of) where state = 'OPEN';

create function fx.admin_session_is_fixed() returns trigger language plpgsql set search_path = '' as $$
begin -- what was approved is what is opened
  if (new.tenant_id, new.id, new.purpose, new.on_behalf_of, new.reason, new.requested_by, new.requested_at)
     is distinct from
     (old.tenant_id, old.id, old.purpose, old.on_behalf_of, old.reason, old.requested_by, old.requested_at)
     or (old.approved_at is not null
         and (new.approved_by, new.approved_at) is distinct from (old.approved_by, old.approved_at))
     or (old.opened_at is not null
         and (new.opened_at, new.expires_at) is distinct from (old.opened_at, old.expires_at)) then
    raise exception 'what admin session % is for is fixed', old.id using errcode = 'FX033';
  end if;
  return new;
end $$;
grant execute on function fx.admin_session_is_fixed() to fx_writer;
create trigger b_admin_session_is_fixed before update on app.admin_sessions
  for each row execute function fx.admin_session_is_fixed();
alter table app.admin_sessions enable always trigger b_admin_session_is_fixed;

-- Asking for an admin session tells nothing of whether the customer exists: it is opened for somebody or not at all.
create function fx.admin_session_opens_for_somebody() returns trigger language plpgsql set search_path = '' as $$
begin
  if new.opened_at is not null and not exists (
       select from app.subjects s where s.tenant_id = new.tenant_id and s.id = new.on_behalf_of) then
    raise exception 'admin session % is for nobody of its tenant', new.id using errcode = 'FX033';
  end if;
  return new;
end $$;
grant execute on function fx.admin_session_opens_for_somebody() to fx_writer;
create trigger b_opens_for_somebody before insert or update on app.admin_sessions
  for each row execute function fx.admin_session_opens_for_somebody();
alter table app.admin_sessions enable always trigger b_opens_for_somebody;

-- A leave to read across tenants: for one transaction of one server process, for a minute (TI-07, TI-08). Not domain state:
-- the entry is what counts.
create table ops.bypass_grants (
  entry_id       text primary key,
  tenant_id      text not null,
  admin_session  text not null,
  backend_pid    integer not null,
  backend_start  timestamptz not null,
  xid            xid8 not null, -- of the transaction that made it, which sees nothing by it
  granted_at     timestamptz not null,
  expires_at     timestamptz not null check (expires_at > granted_at and expires_at <= granted_at + interval '60 seconds'),
  closed_at      timestamptz,
  lxid           bigint not null check (lxid between 0 and 4294967295), -- of the one transaction that it is good for
  tenants        text[] not null -- whose rows that one sees
);
create unique index bypass_grants_one_live_per_process on ops.bypass_grants (backend_pid, backend_start) where closed_at is null;
alter table ops.bypass_grants enable row level security;
alter table ops.bypass_grants force row level security;

-- What the functions of 15_bypass.sql must judge.
grant select, insert, update (closed_at) on ops.bypass_grants to fx_fingerprint;
create policy fingerprint_keeps on ops.bypass_grants for all to fx_fingerprint using (true) with check (true);
grant select on app.admin_sessions to fx_fingerprint;
create policy fingerprint_judges on app.admin_sessions for select to fx_fingerprint using (true);
grant select (tenant_id, id, role, state) on app.subjects to fx_fingerprint;
select fx.may_be_asked('subject', 'subjects', 'id');

-- Which time step of a factor was used last, and how often its code was tried: machinery like login codes (AU-11).
create table ops.mfa_tries (
  tenant_id    text not null,
  factor_id    text not null,
  last_step    bigint, -- of RFC 6238: a code is accepted once
  window_from  timestamptz not null,
  attempts     integer not null check (attempts >= 0),
  primary key (tenant_id, factor_id),
  foreign key (tenant_id, factor_id) references app.mfa_factors (tenant_id, id)
);
alter table ops.mfa_tries enable row level security;
alter table ops.mfa_tries force row level security;
create policy tenant_only on ops.mfa_tries for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select, insert, update (tenant_id, factor_id, last_step, window_from, attempts) on ops.mfa_tries to fx_app;

-- What an administrator may not say of themselves: when the door opened, and who asked, approved and came in. The
-- hour in an entry comes from the platform's clock, which whoever holds its password can hand in.
create table ops.admin_doors (
  tenant_id      text not null,
  admin_session  text not null,
  opened_clock   timestamptz not null, -- the database's own
  primary key (tenant_id, admin_session),
  foreign key (tenant_id, admin_session) references app.admin_sessions (tenant_id, id)
);
alter table ops.admin_doors enable row level security;
alter table ops.admin_doors force row level security;
grant select, insert on ops.admin_doors to fx_fingerprint;
create policy fingerprint_keeps on ops.admin_doors for all to fx_fingerprint using (true) with check (true);

-- Links with which somebody who is signed in opens a page in a browser, once.
-- Not domain state: they live five minutes and their loss costs asking for one more. No secret stands here: what makes
-- a link is its id under a key of the vault.
create table ops.page_links (
  tenant_id   text not null,
  session_id  text not null,
  link_id     text not null check (link_id ~ '^pgl_[0-9a-z]{26}$'),
  expires_at  timestamptz not null,
  used_at     timestamptz,
  primary key (tenant_id, session_id), -- a newer link replaces the older one
  unique (tenant_id, link_id),
  foreign key (tenant_id, session_id) references app.sessions (tenant_id, id)
);
alter table ops.page_links enable row level security;
alter table ops.page_links force row level security;
create policy tenant_only on ops.page_links for all to fx_app
  using (tenant_id = (select fx.tenant())) with check (tenant_id = (select fx.tenant()));
grant select, insert, update (tenant_id, session_id, link_id, expires_at, used_at) on ops.page_links to fx_app;

-- Versions of the credentials that the platform presents to others (P-21). Values lie in the vault and never here.
create table app.credential_versions (
  tenant_id   text not null references app.tenants (tenant_id),
  name        text not null check (name ~ '^[A-Za-z0-9._/-]{1,150}$'),
  version     integer not null check (version > 1), -- the first one comes with the installation
  stored_as   text not null check (stored_as ~ '^[A-Za-z0-9._/-]{1,200}$'), -- under which name the vault has the value
  rotated_at  timestamptz not null,
  rotated_by  text not null check (rotated_by ~ '^sub_[0-9a-z]{26}$'),
  primary key (tenant_id, name, version),
  check (starts_with(stored_as, name || '/'))
);
select fx.protect('credential_versions', 'auth');
create trigger b_for_ever before update or delete on app.credential_versions
  for each row execute function fx.deny();
alter table app.credential_versions enable always trigger b_for_ever;

-- Whose data was destroyed, by whom and why (AD-14, CO-09).
create table app.erasures (
  tenant_id      text not null,
  id             text not null check (id ~ '^era_[0-9a-z]{26}$'),
  subject_id     text not null,
  erased_at      timestamptz not null,
  erased_by      text not null,
  reason_sealed  text not null check (reason_sealed like 'sealed:%'), -- under a key of its own: the person's is gone
  primary key (tenant_id, id),
  unique (tenant_id, subject_id), -- once and for all
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id)
);
select fx.protect('erasures', 'auth');
create trigger b_for_ever before update or delete on app.erasures for each row execute function fx.deny();
alter table app.erasures enable always trigger b_for_ever;
