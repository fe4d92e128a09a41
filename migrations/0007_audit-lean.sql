-- The record at less cost per entry; what the dropped parts kept true is kept true otherwise. Runs as fx_owner.

-- A foreign key locks and rewrites the row that it points to, at every entry, under the chain's lock. fx.change looks the
-- action up and fx.link the open batch; what is left to guard is that neither disappears afterwards.
alter table app.audit_entries
  drop constraint audit_entries_action_fkey, drop constraint audit_entries_merkle_batch_id_fkey;

do $$
declare
  kept record;
begin
  for kept in select * from (values ('audit_actions', 'action'), ('merkle_batches', 'id')) as k (relation, key) loop
    execute format('create trigger a_entries_name_it before delete on app.%I '
                   'for each row execute function fx.deny()', kept.relation);
    execute format('create trigger a_entries_name_them before truncate on app.%I '
                   'for each statement execute function fx.deny()', kept.relation);
    execute format('create trigger a_entries_know_its_name before update on app.%1$I '
                   'for each row when (old.%2$I is distinct from new.%2$I) execute function fx.deny()',
                   kept.relation, kept.key);
    execute format('alter table app.%I enable always trigger a_entries_name_it', kept.relation);
    execute format('alter table app.%I enable always trigger a_entries_name_them', kept.relation);
    execute format('alter table app.%I enable always trigger a_entries_know_its_name', kept.relation);
  end loop;
end $$;

-- Nobody asks for the entries of a batch but by first_seq … last_seq.
drop index app.audit_entries_of_batch;

-- An entry that waits is found by its place (ctid), which fx.change hands to the guard; the deferred trigger holds the
-- row itself, in the order of insertion. So there is nothing to index and nothing to number.
drop index ops.audit_pending_of_transaction;
alter table ops.audit_pending drop column n;
