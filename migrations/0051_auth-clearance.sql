-- How old the checks behind a clearance are (CH-16). Runs as fx_owner. NULL: never cleared by gates 1 and 2.
alter table app.subjects add column cleared_at timestamptz; -- when the older of the answers behind gates 1 and 2 was had
