"""Hooks of the process: its end, and its forks."""

import atexit
import os

from keybound import _native


def install_hooks() -> None:
    """Called once, when the package is imported."""
    atexit.register(_native.shut_down)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_native.after_fork)
