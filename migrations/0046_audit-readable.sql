-- How far an entry's time may be from the database's own clock, both ways. Runs as fx_owner. `fintokenx db migrate` writes
-- it by the environment: NULL where business time may stand anywhere (local, sandbox). It is a bound around each
-- transaction's own clock and not around the newest entry: one entry from the year 2099 would then stop all others.
create table fx.entry_window (
  only_row  boolean primary key check (only_row),
  tolerance interval check (tolerance > interval '0')
);
insert into fx.entry_window values (true, null);
grant select on fx.entry_window to fx_writer, fx_auditor;
