from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def attribute(module: str, name: str) -> Any:
    """A public name of a module of the installed msal, or its version.

    Raises:
        AttributeError: if the module has no such name, or msal is not installed.

    """
    # Names of Python itself, such as `__path__`, are looked up on each import.
    if name.startswith("_") and name != "__version__":
        raise AttributeError(f"module 'keybound.{module}' has no attribute {name!r}")
    try:
        installed = import_module(module)
    except ImportError as error:
        raise AttributeError(
            f"module 'keybound.{module}' has no attribute {name!r}; for the other names of msal: pip install msal"
        ) from error
    return getattr(installed, name)
