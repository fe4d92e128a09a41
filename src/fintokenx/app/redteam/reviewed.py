"""What has been reviewed in the database: whoever adds a function, policy, membership or grant adds a line here, and
says why. The rules of the ratchet and the tests of the catalogue read these lists and no others."""

from __future__ import annotations

from typing import Final

CALLS: Final = {
    ("fx_app", "change"): "records and changes, under the pin",
    ("fx_app", "lock"): "the locks of commands, of the pinned tenant's things",
    ("fx_app", "next_nonce"): "numbers the transactions of a wallet of the platform, each with its promise",
    ("fx_worker", "sender_has_mined"): "says how far the chain has come; runs no tenant's SQL",
    ("fx_platform", "open_bypass"): "leaves the fingerprint",
    ("fx_platform", "close_bypass"): "ends grants of its own process",
    ("fx_sealer", "take_chain_lock"): "seals without a commit in between",
    ("fx_auditor", "entry_bytes"): "spells an entry's bytes",
    ("fx_auditor", "apply"): "carries entries out on its own twins; runs as its caller, who may write nothing else",
    ("fx_auditor", "replay"): "the same for many entries",
    ("fx_auditor", "shadow_open"): "makes the twins",
    ("fx_auditor", "shadow_columns"): "compares the twins",
    ("fx_auditor", "shadow_join"): "compares the twins",
    ("fx_auditor", "shadow_differs"): "compares the twins",
    ("fx_auditor", "shadow_count"): "compares the twins",
    ("fx_auditor", "shadow_differences"): "compares the twins",
    ("fx_auditor", "sealed_under_dead_keys"): "counts what nobody can open any more",
}
"""Which login calls which function of fx (beside fx.tenant, which everybody may)."""

MEMBERS: Final = {
    ("fx_migrator", "fx_owner"): "migrations",
    ("fx_owner", "fx_writer"): "hands it its functions",
    ("fx_owner", "fx_linker"): "hands it its functions",
    ("fx_owner", "fx_fingerprint"): "hands it its functions",
    ("fx_fingerprint", "pg_read_all_stats"): "knows when a server process started",
    ("fx_platform", "fx_bypass"): "shows no row without a grant",
}
"""Who is a member of what."""

DEFINERS: Final = {
    "admin_door_is_open": "fx_fingerprint",
    "bypass_tenants": "fx_fingerprint",
    "change": "fx_writer",
    "close_bypass": "fx_fingerprint",
    "guard_change": "fx_owner",
    "is_administrator": "fx_fingerprint",
    "link": "fx_linker",
    "lock": "fx_owner",
    "next_nonce": "fx_owner",
    "nonce_has_its_promise": "fx_writer",
    "nonce_was_given": "fx_owner",
    "open_admin_door": "fx_fingerprint",
    "open_bypass": "fx_fingerprint",
    "record_where_seen": "fx_writer",
    "refuse_unfit_administrator": "fx_fingerprint",
    "sender_has_mined": "fx_owner",
    "shadow_open": "fx_owner",
    "tenant": "fx_owner",
}
"""Functions that run with their owner's power, and whose that is."""

POLICIES: Final = {
    ("app.audit_entries", "the_chain_sees_all", "fx_linker", "true"): "appends to the one chain",
    ("app.audit_entries", "sealer_sees_hashes", "fx_sealer", "true"): "four columns without a tenant",
    ("app.audit_entries", "auditor_reads", "fx_auditor", "true"): "verifies the record",
    ("app.admin_sessions", "fingerprint_judges", "fx_fingerprint", "true"): "in definers only",
    ("ops.admin_doors", "fingerprint_keeps", "fx_fingerprint", "true"): "in definers only",
    ("ops.bypass_grants", "fingerprint_keeps", "fx_fingerprint", "true"): "in definers only",
    ("ops.jobs", "worker_claims", "fx_worker", "true"): "claims jobs of all tenants",
    ("ops.periodic_turns", "worker_keeps", "fx_worker", "true"): "when whose periodic jobs are due; nobody else's",
    ("app.tenants", "worker_counts", "fx_worker", "true"): "ids and states of those whom it works for",
    ("ops.subject_keys", "auditor_counts", "fx_auditor", "true"): "which keys are destroyed; no key",
    ("ops.log_tiles", "sealer_grows", "fx_sealer", "true"): "hashes of all tenants, which disclose nothing",
}
"""Policies beside the tenants' own and the readers' (``READERS``): table, policy, role, condition."""

READERS: Final = {
    ("auditor_reads", "fx_auditor", "true"): "compares state with the record (P-06)",
    (
        "bypass_reads",
        "fx_bypass",
        "(tenant_id = ANY (( SELECT fx.bypass_tenants() AS bypass_tenants)::text[]))",
    ): "after its fingerprint, of the tenants that it names (TI-07)",
    ("fingerprint_locates", "fx_fingerprint", "true"): "whose a reference is; in definers only (fx.lookups)",
}
"""Policies for reading that a domain table may have: policy, role, condition."""

MACHINERY: Final = {
    "admin_doors", "api_key_use", "audit_pending", "bypass_grants", "client_balances", "idempotency_keys", "inbox",
    "jobs", "login_codes", "login_throttles", "mfa_tries", "page_links", "periodic_turns", "subject_keys",
    "tenant_keys",
}  # fmt: skip
"""Tables outside app that carry a tenant: not domain state."""

WITHOUT_TENANT_KEY: Final = {
    "app.audit_entries": "the record itself: it names what it names for ever, also of a tenant's first entry",
    "app.redteam_reports": "of audit, which knows no module above it; a key to app.tenants would point upward",
    "ops.audit_pending": "the entries of one transaction, until its commit",
    "ops.bypass_grants": "of audit, likewise; its entry is linked at commit only, after the grant is used",
    "ops.idempotency_keys": "the kernel's, which knows no module; each row under the pin, written on every request",
    "ops.inbox": "the kernel's, likewise",
    "ops.jobs": "the kernel's, likewise; claimed and deleted at speed",
    "ops.periodic_turns": "the kernel's, likewise; filled from app.tenants by the worker",
    "ops.subject_keys": "the kernel's, likewise; a key is there before anything is sealed under it",
    "ops.tenant_keys": "the kernel's, likewise; a key is there before the tenant's first blob",
}
"""Tables whose rows no foreign key holds to a tenant that there is, and why."""

NAMES_WITHOUT_KEY: Final = {
    "app.audit_entries.merkle_batch_id": "the record itself; app.merkle_batches refuses to lose a name it gave",
    "app.audit_entries.request_id": "of the request, which is no row",
    "app.buyer_confirmations.session_id": "evidence: the session, or who acted where there is none",
    "app.collections.bank_transaction_id": "the bank's",
    "app.invoices.token_reference": "of tokenisation, which is above; app.tokens holds the key to the invoice",
    "app.line_forms.end_to_end_id": "the bank's",
    "app.line_forms.transaction_id": "the bank's",
    "app.line_forms.bank_reference": "the bank's",
    "app.magic_link_tokens.invoice_reference": "of invoice, which is above auth",
    "app.payment_instructions.end_to_end_id": "its own name, towards the bank",
    "app.reconciliations.transaction_id": "the bank's",
    "ops.audit_pending.request_id": "of the request, which is no row",
    "ops.bypass_grants.entry_id": "the entry is linked at commit only, after the grant is used",
    "ops.inbox.event_id": "the provider's",
    "ops.page_links.link_id": "its own name, in the link",
    "ops.subject_keys.subject_id": "of auth, which is above the kernel; a key is there before its subject",
    "ops.tenant_keys.key_id": "its own name",
}
"""Columns of tenant tables that are called ``…_id`` or ``…_reference`` and stand in no foreign key, and why."""

INDEXES_ACROSS_TENANTS: Final = {
    "ops.jobs_of_lane": "for the worker, which goes from tenant to tenant within a lane",
    "ops.periodic_turns_due": "for the worker",
}
"""Indexes of tenant tables that do not begin with the tenant."""

WRITES_OF_MACHINERY: Final = {
    ("fx_app", "ops", "api_key_use"), ("fx_app", "ops", "idempotency_keys"), ("fx_app", "ops", "inbox"),
    ("fx_app", "ops", "jobs"), ("fx_app", "ops", "login_codes"), ("fx_app", "ops", "login_throttles"),
    ("fx_app", "ops", "mfa_tries"), ("fx_app", "ops", "page_links"), ("fx_app", "ops", "subject_keys"),
    ("fx_app", "ops", "tenant_keys"),
    ("fx_worker", "ops", "jobs"), ("fx_worker", "ops", "job_lanes"), ("fx_worker", "ops", "periodic_turns"),
    ("fx_sealer", "app", "merkle_batches"), ("fx_sealer", "app", "chain_anchors"),
    ("fx_sealer", "ops", "log_tiles"),
}  # fmt: skip
"""Which login writes which table at all; domain rows are written by fx.change alone."""

LOCKS: Final = {
    ("fx_worker", "ops", "jobs"): "deletes what is done; runs no tenant's SQL",
    ("fx_worker", "ops", "periodic_turns"): "likewise",
}
"""Which login could lock which table as a whole."""

CROSS_TENANT: Final = {
    "fx_worker": {"ops.jobs", "ops.periodic_turns", "app.tenants"},
    "fx_auditor": {"app", "ops.subject_keys"},
}
"""What a login reads of all tenants by design: a table, or a whole schema. Nothing else, and nobody else."""

REFUSALS: Final = {
    ("FX001", "guard_change"): "no entry explains the change",
    ("FX002", "guard_change"): "no transition of its machine",
    ("FX003", "apply"): "the row is not what the command read",
    ("FX004", "apply"): "an unknown row operation",
    ("FX005", "change"): "an unknown action",
    ("FX006", "change"): "a role that may not record the action",
    ("FX007", "change"): "an administrator's entry for nobody, or another's for somebody",
    ("FX008", "change"): "a diff without facts and rows",
    ("FX009", "refuse_unreadable"): "an entry that somebody could not read, or not as everybody else",
    ("FX010", "subject_identity_is_fixed"): "a subject's role and tenant are fixed",
    ("FX011", "keep_client_balance"): "a client's account below zero",
    ("FX012", "journals_are_final"): "journals are final",
    ("FX013", "refuse_misfit"): "rows that the action does not carry",
    ("FX014", "refuse_misfit"): "an action without the rows that it always has",
    ("FX015", "journal_must_balance"): "a journal that does not balance",
    ("FX020", "invoice_terms_are_final"): "what is final of an invoice",
    ("FX021", "token_identity_is_fixed"): "what a token stands for is final",
    ("FX022", "slices_must_add_up"): "slices that do not add up to the face",
    ("FX023", "sender_has_mined"): "a count that no chain of ours can have",
    ("FX024", "nonce_has_its_promise"): "a nonce for nothing",
    ("FX025", "nonce_was_given"): "a nonce that was not given to this promise",
    ("FX026", "next_nonce"): "no sender of the platform",
    ("FX027", "claims_rest_on_the_subjects_check"): "claims without a check",
    ("FX030", "refuse_unfit_administrator"): "no active administrator",
    ("FX031", "refuse_unfit_administrator"): "no open admin session",
    ("FX031", "open_bypass"): "no open admin session",
    ("FX032", "refuse_unfit_administrator"): "the bypass is opened otherwise",
    ("FX032", "tenants_asked_for"): "the bypass is opened otherwise",
    ("FX032", "open_bypass"): "the bypass is opened otherwise",
    ("FX033", "admin_session_is_fixed"): "an admin session that is not as it was asked for",
    ("FX033", "admin_session_opens_for_somebody"): "an admin session that is not as it was asked for",
    ("FX033", "admin_session_names_its_actor"): "an admin session that is not as it was asked for",
}
"""What each SQLSTATE of ours means, by the function that raises it: one code has one meaning."""
