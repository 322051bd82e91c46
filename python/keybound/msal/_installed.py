from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

_BELOW = "keybound.msal."
_OWN = frozenset(("managed_identity", "msi_v2", "windows_certificate"))


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


class SubmoduleFinder:
    """Finds the submodules of the installed msal below ``keybound.msal``, and loads them as aliases: their classes exist once."""

    @staticmethod
    def find_spec(fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:  # noqa: ARG004
        """The module; ``None`` if it is one of this package, or msal is not installed or has none of this name."""
        if not fullname.startswith(_BELOW):
            return None
        name = fullname[len(_BELOW) :]
        if name in _OWN or name.startswith("_"):
            return None
        from importlib.machinery import ModuleSpec
        from importlib.util import find_spec

        try:
            is_installed = find_spec(f"msal.{name}") is not None
        except ImportError:
            is_installed = False
        loader: Any = SubmoduleFinder
        return ModuleSpec(fullname, loader) if is_installed else None

    @staticmethod
    def create_module(spec: ModuleSpec) -> None:
        """Leaves it to the import system."""

    @staticmethod
    def exec_module(module: ModuleType) -> None:
        """Replaces the new module by that of msal."""
        name = module.__name__
        sys.modules[name] = import_module(f"msal.{name[len(_BELOW) :]}")

    @classmethod
    def install(cls) -> None:
        """Before the finder for paths, which would load a submodule of a package of msal again."""
        if cls not in sys.meta_path:
            sys.meta_path.insert(0, cls)
