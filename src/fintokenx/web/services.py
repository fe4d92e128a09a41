"""What routes need besides a transaction: one frozen set of services by type, made once when the process starts."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar, cast

from fastapi import Request

Kind = TypeVar("Kind")


class NoSuchService(LookupError):
    """Nobody provides it: a module is missing from the list of modules."""


class ProvidedTwice(ValueError):
    """Two modules provide the same service."""


class Services:
    """Services by their type; ``app.state.services``. Nothing is added or replaced."""

    __slots__ = ("_by_type",)

    def __init__(self, *given: object) -> None:
        """:raises ProvidedTwice: two are of one type"""
        by_type: dict[type, object] = {}
        for service in given:
            if type(service) in by_type:
                raise ProvidedTwice(type(service).__name__)
            by_type[type(service)] = service
        self._by_type: Mapping[type, object] = MappingProxyType(by_type)

    def of(self, kind: type[Kind]) -> Kind:
        """The one of this type. :raises NoSuchService: nobody provides it"""
        try:
            return cast(Kind, self._by_type[kind])
        except KeyError:
            raise NoSuchService(kind.__name__) from None

    def and_also(self, *given: object) -> Services:
        """These with others. :raises ProvidedTwice: two are of one type"""
        return Services(*self._by_type.values(), *given)

    def instead(self, *given: object) -> Services:
        """These, with others in the place of those of their types: for tests."""
        kinds = {type(service) for service in given}
        return Services(*(kept for kind, kept in self._by_type.items() if kind not in kinds), *given)


def provided(request: Request, kind: type[Kind]) -> Kind:
    """The service of this type of the application that got the request. :raises NoSuchService: nobody provides it"""
    services: Services = request.app.state.services
    return services.of(kind)
