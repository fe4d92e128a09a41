"""The house rules, as tests; each comes with a planted fault that it must catch."""
