"""The commands of an invoice: submitted, read, confirmed by its buyer, and moved on by the modules above."""
