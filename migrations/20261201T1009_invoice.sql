-- module: invoice
-- The spine (IN-16).
create table app.invoices (
  tenant_id                  text not null,
  reference                  text not null check (reference ~ '^FXI-[0-9A-HJKMNP-TV-Z]{7}$'),
  originator_id              text not null,
  obligor_id                 text not null,
  invoice_number             text not null check (length(invoice_number) between 1 and 64),
  -- compared with =: LIKE and lower() are not leakproof under RLS
  invoice_number_normalised  text not null check (invoice_number_normalised ~ '^[0-9A-Z]+$'),
  face_value_pence           bigint not null check (face_value_pence between 1 and 9007199254740991),
  collected_pence            bigint not null check (collected_pence between 0 and face_value_pence),
  currency                   text not null check (currency = 'GBP'),
  issue_date                 date not null,
  tenor_days                 integer not null check (tenor_days > 0),
  maturity_date              date not null check (maturity_date = issue_date + tenor_days),
  asking_discount_bps        integer not null check (asking_discount_bps between 1 and 5000),
  state                      text not null,
  token_reference            text,
  document_sha256            text not null check (document_sha256 ~ '^[0-9a-f]{64}$'),
  created_at                 timestamptz not null,
  primary key (tenant_id, reference),
  foreign key (tenant_id, originator_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, obligor_id) references app.subjects (tenant_id, id),
  check (originator_id <> obligor_id),
  -- IN-15: only after tokenisation
  check (token_reference is null or state not in ('SUBMITTED', 'EXTRACTING', 'IN_REVIEW', 'AWAITING_BUYER', 'CONFIRMED',
                                                  'REJECTED', 'DECLINED_BY_BUYER', 'EXPIRED', 'WITHDRAWN'))
);
create unique index invoices_one_live_per_number on app.invoices (tenant_id, originator_id, invoice_number_normalised)
  where state not in ('REJECTED', 'DECLINED_BY_BUYER', 'EXPIRED', 'WITHDRAWN');
create unique index invoices_one_live_per_file on app.invoices (tenant_id, document_sha256)
  where state not in ('REJECTED', 'DECLINED_BY_BUYER', 'EXPIRED', 'WITHDRAWN');
create index invoices_alike on app.invoices (tenant_id, obligor_id, face_value_pence, issue_date);
create index invoices_due on app.invoices (tenant_id, maturity_date) where state = 'FUNDED';
create index invoices_of_obligor on app.invoices (tenant_id, obligor_id, reference);
create index invoices_of_originator on app.invoices (tenant_id, originator_id, reference);
-- Where the walks look for a lost mint and a lost listing; few invoices are between two steps at a time.
create index invoices_between_steps on app.invoices (tenant_id, reference) where state in ('CONFIRMED', 'TOKENISED');
-- Whether anything is open in a tenant at all is asked every few seconds.
create index invoices_open on app.invoices (tenant_id)
  where state not in ('REJECTED', 'DECLINED_BY_BUYER', 'WITHDRAWN', 'SETTLED');
select fx.protect('invoices', 'invoice', 'invoice');
select fx.may_be_asked('invoice', 'invoices', 'reference');

create function fx.invoice_terms_are_final() returns trigger language plpgsql set search_path = '' as $$
begin
  if (old.originator_id, old.obligor_id, old.invoice_number, old.invoice_number_normalised, old.face_value_pence,
      old.currency, old.issue_date, old.tenor_days, old.maturity_date, old.asking_discount_bps, old.document_sha256,
      old.created_at)
     is distinct from
     (new.originator_id, new.obligor_id, new.invoice_number, new.invoice_number_normalised, new.face_value_pence,
      new.currency, new.issue_date, new.tenor_days, new.maturity_date, new.asking_discount_bps, new.document_sha256,
      new.created_at) then
    raise exception 'the terms of % are final', old.reference using errcode = 'FX020';
  end if;
  -- IN-15: filled once and never changed
  if old.token_reference is not null and new.token_reference is distinct from old.token_reference then
    raise exception 'the token reference of % is final', old.reference using errcode = 'FX020';
  end if;
  if new.collected_pence < old.collected_pence then
    raise exception 'what was collected of % stays collected', old.reference using errcode = 'FX020';
  end if;
  return new;
end $$;
grant execute on function fx.invoice_terms_are_final() to fx_writer;
create trigger b_terms_are_final before update on app.invoices
  for each row execute function fx.invoice_terms_are_final();

create table app.invoice_documents (
  tenant_id          text not null,
  id                 text not null,
  invoice_reference  text not null,
  type               text not null check (type in ('original_pdf', 'original_xml', 'ocr_extract', 'vision_artefacts', 'confirmation_page')),
  storage_ref        text not null,
  sha256             text not null check (sha256 ~ '^[0-9a-f]{64}$'),
  size_bytes         bigint not null check (size_bytes >= 0),
  created_at         timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, invoice_reference, type, sha256),
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference)
);
select fx.protect('invoice_documents', 'invoice');

create table app.vision_runs (
  tenant_id          text not null,
  id                 text not null,
  invoice_reference  text not null,
  model              text not null,
  confidence_bps     integer not null check (confidence_bps between 0 and 10000),
  extracted_fields   jsonb not null,
  findings           jsonb not null,
  ran_at             timestamptz not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference)
);
create index vision_runs_of_invoice on app.vision_runs (tenant_id, invoice_reference);
select fx.protect('vision_runs', 'invoice');

create table app.buyer_confirmations (
  tenant_id          text not null,
  id                 text not null,
  invoice_reference  text not null,
  confirmed_by       text not null,
  confirmed_at       timestamptz not null,
  page_hash          text not null check (page_hash ~ '^[0-9a-f]{64}$'),
  ip_sealed          text not null,
  session_id         text not null,
  primary key (tenant_id, id),
  unique (tenant_id, invoice_reference), -- IN-11: at most one
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  foreign key (tenant_id, confirmed_by) references app.subjects (tenant_id, id)
);
select fx.protect('buyer_confirmations', 'invoice');

create table app.duplicates (
  tenant_id          text not null,
  id                 text not null,
  invoice_reference  text not null, -- the invoice that was there first
  kind               text not null check (kind in ('SAME_FILE', 'SAME_NUMBER', 'SAME_OBLIGOR_AMOUNT_DATE')),
  document_sha256    text not null check (document_sha256 ~ '^[0-9a-f]{64}$'),
  submitted_by       text not null,
  detected_at        timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, invoice_reference, kind, document_sha256, submitted_by), -- the same try again is the same record
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  foreign key (tenant_id, submitted_by) references app.subjects (tenant_id, id)
);
select fx.protect('duplicates', 'invoice');
