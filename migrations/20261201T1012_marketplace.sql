-- module: marketplace
-- Listed, seen, chosen (MK-01 … MK-04).
create table app.primary_listings (
  tenant_id                      text not null,
  id                             text not null check (id ~ '^lst_[0-9a-z]{26}$'),
  invoice_reference              text not null,
  token_reference                text not null,
  originator_id                  text not null,
  obligor_id                     text not null,
  face_pence                     bigint not null check (face_pence between 1 and 9007199254740991),
  asking_discount_bps            integer not null check (asking_discount_bps between 1 and 5000),
  maturity_date                  date not null,
  visible_to_lender_subject_ids  text[], -- null: every lender of the tenant whose filter fits
  state                          text not null,
  committed_by                   text,
  created_at                     timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, invoice_reference), -- a listing given back is open again, so an invoice has one for ever
  foreign key (tenant_id, invoice_reference) references app.invoices (tenant_id, reference),
  foreign key (tenant_id, token_reference) references app.tokens (tenant_id, reference),
  foreign key (tenant_id, originator_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, obligor_id) references app.subjects (tenant_id, id),
  foreign key (tenant_id, committed_by) references app.subjects (tenant_id, id),
  check ((state = 'OPEN') = (committed_by is null))
);
create index primary_listings_open on app.primary_listings (tenant_id, id) where state = 'OPEN';
create index primary_listings_of_originator on app.primary_listings (tenant_id, originator_id, id);
create index primary_listings_committed on app.primary_listings (tenant_id, committed_by, obligor_id)
  where state = 'COMMITTED';
select fx.protect('primary_listings', 'marketplace', 'listing');

create table app.listing_filters (
  tenant_id                text not null,
  id                       text not null check (id ~ '^flt_[0-9a-z]{26}$'),
  lender_subject_id        text not null,
  max_tenor_days           integer check (max_tenor_days between 1 and 3650),
  min_discount_bps         integer check (min_discount_bps between 1 and 5000),
  concentration_cap_pence  bigint check (concentration_cap_pence between 0 and 9007199254740991), -- per buyer
  set_at                   timestamptz not null,
  primary key (tenant_id, id),
  unique (tenant_id, lender_subject_id),
  foreign key (tenant_id, lender_subject_id) references app.subjects (tenant_id, id)
);
select fx.protect('listing_filters', 'marketplace');
