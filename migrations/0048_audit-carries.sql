-- Which rows an entry of an action may carry (`carries.py` of each module); loaded by `fintokenx db migrate`, held by
-- fx.change. Runs as fx_owner.
create table fx.action_carries (
  action      text not null,
  table_name  text not null,
  op          text not null check (op in ('insert', 'update', 'delete')),
  columns     text[] not null, -- of an update, those that may change
  -- always: an entry without such a row is refused; one of: without any of these; may: nothing is asked
  needed      text not null check (needed in ('always', 'one of', 'may')),
  primary key (action, table_name, op)
);
grant select on fx.action_carries to fx_app, fx_writer, fx_auditor, fx_platform;
