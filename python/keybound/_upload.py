"""Bodies that are produced while they are sent."""

from __future__ import annotations

from collections.abc import Iterable
from types import AsyncGeneratorType, GeneratorType
from weakref import WeakSet

from keybound import _native
from keybound._errors import InvalidRequest, KeyboundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Callable

    from typing_extensions import TypeGuard

_CHUNK = 64 * 1024
# Generators of which a part was taken.
_used: WeakSet[Any] = WeakSet()
# Of a number that is a length at all.
_DIGITS = 18


def is_in_memory(content: object) -> TypeGuard[bytes | str | None]:
    """Whether the body can be passed on as a whole."""
    return content is None or isinstance(content, (bytes, str))


def content_length(headers: list[tuple[str, str]]) -> int | None:
    """The length that the caller announces.

    Raises:
        InvalidRequest: if it is not one number.

    """
    values = [value.strip() for name, value in headers if name.lower() == "content-length"]
    if not values:
        return None
    if len(values) > 1 or not (values[0].isascii() and values[0].isdigit() and len(values[0]) <= _DIGITS):
        raise InvalidRequest("the Content-Length of the request is not one number", stage="resource")
    return int(values[0])


def chunks(content: object) -> Iterator[bytes]:
    """The parts of a body: of a file or an iterable; a buffer is one part."""
    if isinstance(content, (bytearray, memoryview)):
        yield bytes(content)
    elif hasattr(content, "read"):
        file: Any = content
        while chunk := file.read(_CHUNK):
            yield as_bytes(chunk)
    elif isinstance(content, Iterable):
        for chunk in content:
            yield as_bytes(chunk)
    else:
        raise TypeError(f"a body is bytes, a file or an iterable of bytes, not {type(content).__name__}")


def send_streamed(
    content: object,
    headers: list[tuple[str, str]],
    send: Callable[[_native.Upload], _native.Operation[_native.RawResponse]],
) -> _native.RawResponse:
    """Sends a body that this thread reads, one part ahead of the connection. Reading begins when the connection asks for the first
    part, and stops early when no more is accepted.
    """
    check_unused(content)
    upload = _native.Upload(content_length(headers))
    response = send(upload)
    try:
        if not upload.wanted().wait():
            return response.wait()
        mark_used(content)
        for chunk in chunks(content):
            accepted = upload.push(chunk)
            if not (accepted if isinstance(accepted, bool) else accepted.wait()):
                break
        else:
            upload.finish()
    finally:
        # Without `finish`, the body is incomplete: the server does not take it for a whole one.
        upload.close()
    try:
        return response.wait()
    except KeyboundError as error:
        mark_sent(error)
        raise


def mark_sent(error: KeyboundError) -> None:
    """Whatever the error says: parts of the body were taken, and a repetition would send the rest only."""
    if not error.may_have_been_sent:
        error.may_have_been_sent = True
        error.next_step = "correct the request; a part of it may have been sent"


def check_unused(content: object) -> None:
    """Fails for a generator of which an earlier request took a part: the server would take the rest for a whole body."""
    if isinstance(content, (GeneratorType, AsyncGeneratorType)) and content in _used:
        raise InvalidRequest(
            "the generator of the body was used by an earlier request",
            stage="resource",
            next_step="create a new generator for each request, or pass the body as bytes",
        )


def mark_used(content: object) -> None:
    """Says that parts of the content are taken now."""
    if isinstance(content, (GeneratorType, AsyncGeneratorType)):
        _used.add(content)


def as_bytes(chunk: Any) -> bytes:
    """A part of a body."""
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise TypeError(f"a part of a body is bytes, not {type(chunk).__name__}")
    return bytes(chunk)
