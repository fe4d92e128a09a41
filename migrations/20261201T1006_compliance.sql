-- module: compliance
-- The MLRO queue and the alerts. A decided case stays for ever, as it was decided (CO-01).
-- app.alerts belongs to monitoring, which takes it over when it exists.
create table app.review_queue (
  tenant_id         text not null references app.tenants (tenant_id),
  id                text not null,
  subject_id        text,
  resource          text not null,
  reason            text not null check (reason ~ '^[A-Z][A-Z0-9_]{2,39}$'),
  state             text not null,
  opened_at         timestamptz not null,
  declines_subject  boolean not null check (not declines_subject or subject_id is not null),
  assigned_to       text,
  decided_at        timestamptz,
  decided_by        text,
  decision          text check (decision in ('APPROVE', 'DECLINE')),
  rationale_sealed  text, -- personal data may stand in it: ciphertext under the subject's key
  rationale_hash    text check (rationale_hash ~ '^[0-9a-f]{64}$'),
  primary key (tenant_id, id),
  foreign key (tenant_id, subject_id) references app.subjects (tenant_id, id),
  check ((decision is null) = (decided_at is null)),
  check ((decision is null) = (decided_by is null)),
  check ((decision is null) = (rationale_sealed is null)),
  check ((decision is null) = (rationale_hash is null)),
  check ((decision is null and state not like 'DECIDED%') or state = 'DECIDED_' || decision)
);
create unique index review_queue_one_open on app.review_queue (tenant_id, resource, reason) where decided_at is null;
create index review_queue_by_state on app.review_queue (tenant_id, state, id);
create index review_queue_of_subject on app.review_queue (tenant_id, subject_id);
select fx.protect('review_queue', 'compliance', 'review_case');
create trigger b_for_ever before delete on app.review_queue for each row execute function fx.deny();
alter table app.review_queue enable always trigger b_for_ever;

create table app.alerts (
  tenant_id        text not null references app.tenants (tenant_id),
  id               text not null,
  cause            text not null check (cause ~ '^[A-Z][A-Z0-9_]{2,39}$'),
  resource         text not null,
  severity         text not null check (severity in ('NOTICE', 'WARNING', 'CRITICAL')),
  state            text not null,
  raised_at        timestamptz not null,
  last_seen_at     timestamptz not null check (last_seen_at >= raised_at),
  occurrences      integer not null check (occurrences > 0),
  acknowledged_at  timestamptz,
  acknowledged_by  text,
  closed_at        timestamptz,
  closed_by        text,
  finding          text check (finding in ('TRUE_ALARM', 'FALSE_ALARM')),
  primary key (tenant_id, id),
  check ((acknowledged_at is null) = (acknowledged_by is null)),
  -- An alert whose cause is gone ends by itself (statemachines §12): nobody closed it and nobody found anything.
  check ((state in ('CLOSED', 'AUTO_CLEARED')) = (closed_at is not null)),
  check ((closed_at is null) = (closed_by is null)),
  check ((state = 'CLOSED') = (finding is not null))
);
create unique index alerts_one_open on app.alerts (tenant_id, cause, resource) where closed_at is null;
create index alerts_by_state on app.alerts (tenant_id, state, id);
select fx.protect('alerts', 'compliance', 'alert');
create trigger b_for_ever before delete on app.alerts for each row execute function fx.deny();
alter table app.alerts enable always trigger b_for_ever;
