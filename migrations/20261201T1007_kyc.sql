-- module: kyc
-- Gates 1 to 3: onboarding files, who stands in them, every execution of a gate, what it found, what people decided.
create table app.onboarding_files (
  tenant_id        text not null,
  id               text not null,
  subject_id       text not null,
  form_version     text not null,
  state            text not null,
  company_name     text not null,
  company_number   text not null check (company_number ~ '^[0-9A-Z]{8}$'),
  opened_at        timestamptz not null,
  submitted_at     timestamptz,
  mlro_decided_at  timestamptz,
  mlro_decided_by  text,
  rationale_hash   text check (rationale_hash ~ '^[0-9a-f]{64}$'),
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  check (state = 'DRAFT' or submitted_at is not null),
  check ((state like 'DECIDED%') = (mlro_decided_at is not null)),
  check ((mlro_decided_at is null) = (mlro_decided_by is null)),
  check ((mlro_decided_at is null) = (rationale_hash is null))
);
create unique index onboarding_files_one_open on app.onboarding_files (tenant_id, subject_id)
  where state in ('DRAFT', 'SUBMITTED');
create index onboarding_files_of_subject on app.onboarding_files (tenant_id, subject_id, id);
select fx.protect('onboarding_files', 'kyc', 'onboarding_file');

create table app.onboarding_parties (
  tenant_id       text not null,
  id              text not null, -- the file's id and a number; also our name for them at the providers
  file_id         text not null,
  kind            text not null check (kind in ('company', 'individual')),
  roles           text[] not null,
  name_sealed     text, -- a person's; the company's name stands in the file
  born_on_sealed  text,
  applicant_ref   text,
  primary key (tenant_id, id),
  foreign key (tenant_id, file_id) references app.onboarding_files (tenant_id, id),
  check ((kind = 'individual') = (name_sealed is not null)),
  check ((kind = 'individual') = (born_on_sealed is not null)),
  check (kind = 'company' or cardinality(roles) > 0)
);
create index onboarding_parties_of_file on app.onboarding_parties (tenant_id, file_id, id);
select fx.protect('onboarding_parties', 'kyc');

create table app.designated_accounts (
  tenant_id       text not null,
  id              text not null,
  subject_id      text not null,
  file_id         text not null,
  account_name    text not null check (length(account_name) between 1 and 140),
  sort_code       text not null check (sort_code ~ '^[0-9]{6}$'),
  account_number  text not null check (account_number ~ '^[0-9]{8}$'),
  designated_at   timestamptz not null,
  superseded_at   timestamptz,
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, file_id) references app.onboarding_files (tenant_id, id)
);
create unique index designated_accounts_one_current on app.designated_accounts (tenant_id, subject_id)
  where superseded_at is null;
select fx.protect('designated_accounts', 'kyc');

create table app.gate_runs (
  tenant_id         text not null,
  id                text not null,
  file_id           text not null,
  subject_id        text not null,
  gate              smallint not null check (gate in (1, 2, 3, 4)),
  attempt           integer not null check (attempt > 0),
  provider          text not null,
  provider_ref      text,
  state             text not null,
  verdict           text check (verdict in ('CLEAR', 'REFER', 'FAIL')),
  raw_payload_ref   text, -- an encrypted blob (KY-04)
  started_at        timestamptz not null,
  requested_at      timestamptz,
  delay_alerted_at  timestamptz,
  finished_at       timestamptz,
  primary key (tenant_id, id),
  unique (tenant_id, file_id, gate, attempt),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, file_id) references app.onboarding_files (tenant_id, id),
  check ((verdict is null) = (finished_at is null)),
  check ((verdict is null and state in ('RUNNING', 'HELD')) or state = verdict),
  check (verdict is null or provider in ('internal', 'mlro') or raw_payload_ref is not null)
);
create unique index gate_runs_one_running on app.gate_runs (tenant_id, file_id, gate) where finished_at is null;
create index gate_runs_of_subject on app.gate_runs (tenant_id, subject_id, gate, id);
select fx.protect('gate_runs', 'kyc', 'gate_run');

create table app.mlro_decisions (
  tenant_id       text not null,
  id              text not null,
  file_id         text not null,
  case_id         text not null,
  reason          text not null,
  decision        text not null check (decision in ('APPROVE', 'DECLINE')),
  decided_at      timestamptz not null,
  decided_by      text not null,
  rationale_hash  text not null check (rationale_hash ~ '^[0-9a-f]{64}$'),
  primary key (tenant_id, id),
  unique (tenant_id, case_id),
  foreign key (tenant_id, file_id) references app.onboarding_files (tenant_id, id),
  foreign key (tenant_id, case_id) references app.review_queue (tenant_id, id)
);
create index mlro_decisions_of_file on app.mlro_decisions (tenant_id, file_id, id);
select fx.protect('mlro_decisions', 'kyc');

create table app.screening_hits (
  tenant_id            text not null,
  id                   text not null,
  run_id               text not null,
  party_id             text not null,
  provider_hit_ref     text not null,
  hit_types            text[] not null,
  match_status         text not null,
  found_at             timestamptz not null,
  discounted_by_case   text, -- a person found that this is somebody else
  primary key (tenant_id, id),
  unique (tenant_id, run_id, party_id, provider_hit_ref),
  foreign key (tenant_id, run_id) references app.gate_runs (tenant_id, id),
  foreign key (tenant_id, party_id) references app.onboarding_parties (tenant_id, id),
  foreign key (tenant_id, discounted_by_case) references app.review_queue (tenant_id, id)
);
create index screening_hits_of_run on app.screening_hits (tenant_id, run_id, id);
select fx.protect('screening_hits', 'kyc');

do $$ -- What was checked, found and decided is kept for ever.
declare kept text;
begin
  foreach kept in array array['onboarding_files', 'gate_runs', 'mlro_decisions', 'screening_hits'] loop
    execute format('create trigger b_for_ever before delete on app.%I for each row execute function fx.deny()', kept);
    execute format('alter table app.%I enable always trigger b_for_ever', kept);
  end loop;
end $$;
