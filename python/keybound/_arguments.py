"""Checks of arguments, whose errors name the argument."""

from __future__ import annotations

from collections.abc import Sequence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def check(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """Fails unless the value is of a type.

    Raises:
        TypeError: with the name of the argument, and what it must be.

    """
    if not isinstance(value, kind):
        fail(name, value, expected)


def check_optional(name: str, value: object, kind: type | tuple[type, ...], expected: str) -> None:
    """As `check`, for an argument that may be ``None``."""
    if value is not None:
        check(name, value, kind, expected)


def check_texts(name: str, value: object) -> None:
    """As `check`, for a sequence of texts. A text is a sequence of texts too, and meant as one of them."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        fail(name, value, "a list of str")
    for member in value:
        check(f"a member of {name}", member, str, "a str")


def fail(name: str, value: object, expected: str) -> NoReturn:
    """Fails as `check` does. The value may be a secret."""
    kind = type(value)
    found = kind.__name__ if kind.__module__ in ("builtins", "__main__") else f"{kind.__module__}.{kind.__name__}"
    raise TypeError(f"{name} is {expected}, not {found}")
