"""Holes that are planted in a copy of the database."""

from __future__ import annotations


def without(function: str, words: str, instead: str = "") -> str:
    """A function whose source lacks some words; fails loudly when they are not there."""
    return f"""do $plant$ declare source text; begin
      source := pg_get_functiondef('{function}'::regprocedure);
      if position($w${words}$w$ in source) = 0 then raise exception 'the words are not there'; end if;
      execute replace(source, $w${words}$w$, $w${instead}$w$);
    end $plant$"""
