"""The world of these tests has two small tables of its own."""

from tests.database.things import things_template, world

__all__ = ["things_template", "world"]
