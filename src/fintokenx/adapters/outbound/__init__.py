"""The one exchange with systems outside: limits, retries with jitter, circuit breaker, a health row per provider.

A client of an outside system stands on this and adds the vendor's words: how a request is authenticated, which answer
counts. What is sent again, when it is given up, and whether the outcome is then unknown is decided here (ADR 0024).
"""

from fintokenx.adapters.outbound.access import Access, Client
from fintokenx.adapters.outbound.circuit import (
    Attempt,
    CircuitBreaker,
    CircuitOpen,
    Circuits,
    CircuitState,
    Health,
    ProviderNotListed,
)
from fintokenx.adapters.outbound.exchange import CallGuard, Failure, HttpExchange, Received
from fintokenx.adapters.outbound.retries import RetryPolicy

__all__ = [
    "Access",
    "Attempt",
    "CallGuard",
    "CircuitBreaker",
    "CircuitOpen",
    "CircuitState",
    "Circuits",
    "Client",
    "Failure",
    "Health",
    "HttpExchange",
    "ProviderNotListed",
    "Received",
    "RetryPolicy",
]
