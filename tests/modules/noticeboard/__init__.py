"""A module of a test's own, with all that a module may have, and not a line anywhere else."""

from tests.modules.noticeboard.board import Board

__all__ = ["Board"]
