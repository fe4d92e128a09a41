"""Words without a domain: money, ids, clock, callers, refusals, machines, transactions, jobs."""
