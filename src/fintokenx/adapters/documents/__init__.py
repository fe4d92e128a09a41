"""Documents: what a file is, whether it is safe, and which fields it states (IN-03, IN-06).

`IsolatedReader` is the one to use; `TextReader` does the same in the caller's process.
"""

from fintokenx.adapters.documents.isolated import IsolatedReader
from fintokenx.adapters.documents.reader import Limits, TextReader

__all__ = ["IsolatedReader", "Limits", "TextReader"]
