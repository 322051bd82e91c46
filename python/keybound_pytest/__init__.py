"""The plugin of pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keybound.emulator import Emulator


@pytest.fixture
def keybound_emulator() -> Iterator[Emulator]:
    """A `keybound.emulator.Emulator` with the default configuration, for one test."""
    # Imported by tests that use it only.
    from keybound.emulator import Emulator

    with Emulator() as emulator:
        yield emulator
