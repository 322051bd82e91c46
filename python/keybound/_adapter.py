"""What the adapters of HTTP libraries share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keybound._errors import DeadlineReached, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keybound._errors import KeyboundError


def call_timeout(*limits: float | None) -> float | None:
    """The timeout of a whole call for a library that limits its parts: the longest limit; ``None`` if a part has none."""
    given = [limit for limit in limits if limit is not None]
    return max(given) if limits and len(given) == len(limits) else None


def header_pairs(pairs: Iterable[tuple[str | bytes, str | bytes]]) -> list[tuple[str, str]]:
    """The headers as pairs of text."""
    return [(_text(name), _text(value)) for name, value in pairs]


def is_connection_failure(error: KeyboundError) -> bool:
    """Whether a library reports the error as one of its connection errors, which its callers may retry.

    Others mean that nothing was sent and that a retry does not help: an invalid request, or a token that this host does not get.
    """
    return error.may_have_been_sent or error.retryable or isinstance(error, (DeadlineReached, Unreachable))


def _text(value: str | bytes) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)
