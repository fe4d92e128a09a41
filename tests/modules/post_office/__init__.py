"""A provider of a test's own: a client on the one exchange and a mock server, and not a line anywhere else."""

from tests.modules.post_office.client import PostOfficeClient
from tests.modules.post_office.mock import MOCK

__all__ = ["MOCK", "PostOfficeClient"]
