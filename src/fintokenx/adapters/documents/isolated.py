"""The reader in a process of its own, so that a hostile file can at worst end that process.

One process per file: nothing of one document can reach the next, and a crash leaves nothing to mend.
The worker gets no environment (no secrets), a bounded address space and processor time, one socket, and
may open no file. What it says comes back as JSON and is validated: the worker is not trusted.
"""

from __future__ import annotations

from threading import BoundedSemaphore, Event
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from fintokenx.adapters.documents.reader import Limits
from fintokenx.adapters.documents.workers import LOOK_SECONDS, WAY, Job, Way, WorkerEnded, workers
from fintokenx.lifecycle.invoice.ports import (
    ActiveContent,
    CurrencyUnsupported,
    DamagedDocument,
    DocumentKind,
    DocumentRefused,
    EmptyFile,
    EncryptedDocument,
    FileTooLarge,
    NotAnInvoice,
    Reading,
    TooManyPages,
    UnsupportedContent,
)

_WORKER: Final = "fintokenx.adapters.documents.worker"
_REFUSALS: Final = {
    refusal.code: refusal
    for refusal in (
        ActiveContent,
        CurrencyUnsupported,
        DamagedDocument,
        EmptyFile,
        EncryptedDocument,
        FileTooLarge,
        NotAnInvoice,
        TooManyPages,
        UnsupportedContent,
    )
}

Task = Literal["inspect", "read"]


class Order(BaseModel):
    """What a worker is asked to do; the document follows."""

    model_config = ConfigDict(extra="forbid")

    task: Task
    limits: Limits


class Answer(BaseModel):
    """What a worker says: exactly one of the three."""

    model_config = ConfigDict(extra="forbid")

    kind: DocumentKind | None = None
    reading: Reading | None = None
    refused: str | None = None
    """The code of a `DocumentRefused`."""
    detail: str = ""


ANSWER: Final = TypeAdapter(Answer)
ORDER: Final = TypeAdapter(Order)


class IsolatedReader:
    """A `DocumentReader` for files from outside. Blocks until the worker is done: run it off the event loop.

    Safe to call from several threads; at most ``workers_max`` processes run at once, others wait.
    A worker that crashes, runs out of memory or takes longer than ``timeout_seconds`` means `DamagedDocument`.
    ``way`` is how a process comes into being, and ``worker`` the module that it runs.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        *,
        timeout_seconds: float = 20.0,
        address_space_bytes: int = 1024 * 1024 * 1024,
        workers_max: int = 2,
        way: Way = WAY,
        worker: str = _WORKER,
    ) -> None:
        self._limits = limits or Limits()
        self._timeout_seconds = timeout_seconds
        self._address_space_bytes = address_space_bytes
        self._slots = BoundedSemaphore(workers_max)
        self._workers = workers(worker, way)

    def prepare(self) -> None:
        """Load the reader now, beside whatever else starts, so that the first document need not wait for it."""
        self._workers.prepare()

    def close(self) -> None:
        """End what was started. A later document starts it again."""
        self._workers.close()

    def inspect(self, content: bytes) -> DocumentKind:
        """Decide by content what this is and whether we take it.

        :raises DocumentRefused: a named subclass
        """
        answer = self._ask("inspect", content, Event())
        if answer.kind is None:
            raise DamagedDocument("the reader gave no answer")
        return answer.kind

    def read(self, content: bytes, given_up: Event | None = None) -> Reading:
        """Inspect, then read the fields, as `TextReader.read` does. Once ``given_up`` is set the process that reads is
        ended, and so is the wait for one.

        :raises DocumentRefused: a named subclass
        """
        answer = self._ask("read", content, given_up or Event())
        if answer.reading is None:
            raise DamagedDocument("the reader gave no answer")
        return answer.reading

    def _ask(self, task: Task, content: bytes, given_up: Event) -> Answer:
        if len(content) > self._limits.bytes_max:
            raise FileTooLarge(f"at most {self._limits.bytes_max} bytes")
        while not self._slots.acquire(timeout=LOOK_SECONDS):
            if given_up.is_set():
                raise DamagedDocument("nobody waits any more")
        try:
            answer = self._run(task, content, given_up)
        finally:
            self._slots.release()
        if answer.refused is not None:
            raise _REFUSALS.get(answer.refused, DocumentRefused)(answer.detail)
        return answer

    def _run(self, task: Task, content: bytes, given_up: Event) -> Answer:
        job = Job(
            order=ORDER.dump_json(Order(task=task, limits=self._limits)),
            content=content,
            address_space_bytes=self._address_space_bytes,
            processor_seconds=int(self._timeout_seconds) + 1,
            given_up=given_up,
        )
        try:
            return ANSWER.validate_json(self._workers.ask(job, seconds=self._timeout_seconds))
        except TimeoutError as error:
            raise DamagedDocument("it takes too long to read") from error
        except (WorkerEnded, ValidationError) as error:
            raise DamagedDocument("it cannot be read safely") from error
