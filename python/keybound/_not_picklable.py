from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class NotPicklable:
    """A base of what belongs to a process. Without it, Python 3.9 would pickle some of it as empty objects."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """Refuses to pickle or copy the object."""
        raise TypeError(f"cannot pickle {type(self).__name__!r} object")
