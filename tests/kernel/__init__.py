"""Tests of the kernel: money, ids, time, hashes, transactions, jobs, the edge."""
