"""Bodies that are produced while they are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from sys import getrefcount
from time import monotonic
from weakref import ref

from keybound import _native
from keybound._errors import DeadlineReached, InvalidRequest, KeyboundError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from typing_extensions import TypeGuard

_CHUNK = 64 * 1024
# Of a number that is a length at all.
_DIGITS = 18


class Converted:
    """A body that an adapter makes of the one of its caller. Whether it can be sent again depends on the latter."""

    __slots__ = ("content", "source")

    def __init__(self, content: Any, source: Any) -> None:
        self.content = content
        self.source = source


def content_and_source(body: Any) -> tuple[Any, Any]:
    """What is sent, and what it is read from."""
    return (body.content, body.source) if isinstance(body, Converted) else (body, body)


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
    return map(as_bytes, _parts(content))


def encoded_chunks(content: object) -> Iterator[bytes]:
    """As `chunks`, also of text, for libraries that send it as UTF-8."""
    for part in _parts(content):
        yield part.encode() if isinstance(part, str) else as_bytes(part)


def send_streamed(
    body: object,
    headers: list[tuple[str, str]],
    send: Callable[[_native.Upload], _native.Operation[_native.RawResponse]],
    timeout: float,
) -> _native.RawResponse:
    """Sends a body that this thread reads, one part ahead of the connection. Reading begins when the connection can send the first
    part, and stops early when no more is accepted.
    """
    content, source = content_and_source(body)
    check_unused(source)
    upload = _native.Upload(content_length(headers))
    # Before the request's own deadline: a part that comes after that one came after this one too.
    deadline = monotonic() + timeout
    response = send(upload)
    came_late = timed_out = False
    try:
        if not upload.wanted().wait():
            return response.wait()
        mark_used(source)
        for chunk in chunks(content):
            came_late = monotonic() >= deadline
            # It may be accepted nevertheless: the connection is closed a moment after the deadline.
            # Once there is a response, the timeout of the request does not end the wait for a service that reads no more.
            accepted = upload.push(chunk, max(0.0, deadline - monotonic()))
            if not (accepted if isinstance(accepted, bool) else accepted.wait()):
                came_late = came_late or accepted is False
                timed_out = monotonic() >= deadline
                break
        else:
            came_late = monotonic() >= deadline
            upload.finish()
    finally:
        # Without `finish`, the body is incomplete: the server does not take it for a whole one.
        upload.close()
    try:
        result = response.wait()
    except KeyboundError as error:
        mark_sent(error)
        if came_late and isinstance(error, DeadlineReached):
            raise upload_too_slow(by_source=True) from error
        raise
    if timed_out and result.status < 300:
        result.close()
        raise upload_too_slow(by_source=False)
    return result


def mark_sent(error: KeyboundError) -> None:
    """Whatever the error says: parts of the body were taken, and a repetition would send the rest only."""
    if not error.may_have_been_sent:
        error.may_have_been_sent = True
        error.next_step = "correct the request; a part of it may have been sent"


def upload_too_slow(by_source: bool) -> DeadlineReached:
    """The error if the timeout passed while the caller produced a part of the body, or while the service read one."""
    action = "the caller produced the next part of the body" if by_source else "the service read the body"
    return DeadlineReached(
        f"the timeout passed before {action}",
        code="deadline_exceeded",
        stage="resource",
        deadline_reached=True,
        next_step="set a longer timeout; a part of the body may have been sent",
        may_have_been_sent=True,
    )


def check_unused(source: object) -> None:
    """Fails if an earlier request took parts of a source that cannot be read again: the server would take the rest for a whole
    body.
    """
    if id(source) in _weakly_used or id(source) in _used:
        raise _used_before()


def mark_used(source: object) -> None:
    """Says that parts of the source are taken now. It fails as `check_unused`, if another thread was first."""
    if _is_read_once(source) and not _add(source):
        raise _used_before()


def as_bytes(chunk: Any) -> bytes:
    """A part of a body."""
    if not isinstance(chunk, (bytes, bytearray, memoryview)):
        raise TypeError(f"a part of a body is bytes, not {type(chunk).__name__}")
    return bytes(chunk)


# Sources of which parts were taken, by their identity.
_weakly_used: dict[int, ref[Any]] = {}
# Those that cannot be referred to weakly, such as a `map`.
_used: dict[int, list[Any]] = {}


def _add(source: object) -> bool:
    """Adds the source to those that were used. False if it is one of them."""
    key = id(source)
    try:
        reference = ref(source, lambda _: _weakly_used.pop(key, None))
    except TypeError:
        _forget_unreachable()
        entry = [source]
        return _used.setdefault(key, entry) is entry
    return _weakly_used.setdefault(key, reference) is reference


def _forget_unreachable() -> None:
    """Drops the sources that nothing else refers to: they cannot be sent again."""
    for key, held in list(_used.items()):
        # By the list, and as the argument.
        if getrefcount(held[0]) <= 2:
            _used.pop(key, None)


def _used_before() -> InvalidRequest:
    return InvalidRequest(
        "the iterator of the body was used by an earlier request",
        stage="resource",
        next_step="create a new iterator for each request, or pass the body as bytes",
    )


def _is_read_once(source: object) -> bool:
    if hasattr(source, "read"):
        # Libraries rewind files before they repeat a request.
        seekable = getattr(source, "seekable", None)
        return not (seekable() if callable(seekable) else hasattr(source, "seek"))
    return isinstance(source, (Iterator, AsyncIterator))


def _parts(content: object) -> Iterator[Any]:
    if isinstance(content, (bytearray, memoryview)):
        yield bytes(content)
    elif hasattr(content, "read"):
        file: Any = content
        while chunk := file.read(_CHUNK):
            yield chunk
    elif isinstance(content, Iterable):
        yield from content
    else:
        raise TypeError(f"a body is bytes, a file or an iterable of bytes, not {type(content).__name__}")
