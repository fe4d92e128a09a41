-- module: notification
-- Mails that leave or have left (NO-01, NO-03, IN-09).
create table app.email_sends (
  tenant_id     text not null,
  id            text not null check (id ~ '^eml_[0-9a-z]{26}$'),
  template      text not null check (template ~ '^[a-z_]{1,40}$'),
  subject_id    text not null,
  to_sealed     text not null check (to_sealed like 'sealed:%'),
  resource      text not null,
  business_key  text not null check (length(business_key) between 1 and 200),
  state         text not null,
  provider_ref  text check (strpos(provider_ref, '@') = 0),
  queued_at     timestamptz not null,
  sent_at       timestamptz check (sent_at >= queued_at),
  failure       text check (failure ~ '^[A-Z_]{1,60}$'), -- refused for good, or too late to be of use
  failed_at     timestamptz check (failed_at >= queued_at),
  primary key (tenant_id, id),
  unique (tenant_id, business_key), -- NO-03: one mail per business event
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  check ((state = 'SENT') = (sent_at is not null and provider_ref is not null)),
  check ((state in ('FAILED', 'EXPIRED')) = (failed_at is not null and failure is not null)),
  check ((failure is null) = (failed_at is null))
);
create index email_sends_of_subject on app.email_sends (tenant_id, subject_id);
create index email_sends_failed on app.email_sends (tenant_id, resource) where state in ('FAILED', 'EXPIRED');
select fx.protect('email_sends', 'notification', 'email');
