"""The record by purpose: recording, trails, batches, proving, verifying."""
