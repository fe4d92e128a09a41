"""What has been reviewed in the database: whoever adds a function, policy, membership or grant adds a line here, and
says why. The rules of the ratchet and the tests of the catalogue read these lists and no others."""

from __future__ import annotations

from typing import Final

CALLS: Final = {
    ("fx_app", "change"): "records and changes, under the pin",
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

INDEXES_ACROSS_TENANTS: Final = {
    "ops.periodic_turns_due": "for the worker",
}
"""Indexes of tenant tables that do not begin with the tenant."""

WRITES_OF_MACHINERY: Final = {
    ("fx_app", "ops", "api_key_use"), ("fx_app", "ops", "idempotency_keys"), ("fx_app", "ops", "inbox"),
    ("fx_app", "ops", "jobs"), ("fx_app", "ops", "login_codes"), ("fx_app", "ops", "login_throttles"),
    ("fx_app", "ops", "mfa_tries"), ("fx_app", "ops", "page_links"), ("fx_app", "ops", "subject_keys"),
    ("fx_app", "ops", "tenant_keys"),
    ("fx_worker", "ops", "jobs"), ("fx_worker", "ops", "periodic_turns"),
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
