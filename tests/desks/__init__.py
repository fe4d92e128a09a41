"""Tests of desks in a real browser: what people see, at two widths, in two schemes, with and without JavaScript."""
