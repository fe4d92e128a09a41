-- A mail may end without having left: refused for good, or too late to be of use (NO-03). Runs as fx_owner.
alter table app.email_sends
  add column failure text check (failure ~ '^[A-Z_]{1,60}$'),
  add column failed_at timestamptz check (failed_at >= queued_at),
  add check ((state in ('FAILED', 'EXPIRED')) = (failed_at is not null and failure is not null)),
  add check ((failure is null) = (failed_at is null));
create index email_sends_failed on app.email_sends (tenant_id, resource) where state in ('FAILED', 'EXPIRED');
