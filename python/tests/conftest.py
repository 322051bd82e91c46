from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Callable

import pytest

import keybound
from keybound import _native
from keybound.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

RESOURCE = "https://vault.azure.net"
# The optional rule lets a test ask for tokens without attestation.
CONFIG = """
[imds]
attestation = "optional"

[vault.secrets]
db = "correct horse"
"""


def wait_for_records() -> None:
    """Returns once the handlers of `logging` have received all records of the package."""
    assert _native.wait_for_records(30)


@pytest.fixture(scope="session")
def shared_emulator() -> Iterator[Emulator]:
    with Emulator(CONFIG) as emulator:
        yield emulator


@pytest.fixture
def emulator(shared_emulator: Emulator) -> Iterator[Emulator]:
    """An emulator without records and faults of other tests."""
    shared_emulator.reset()
    yield shared_emulator
    # Other fixtures use it before this one is created for the next test.
    shared_emulator.reset()


@pytest.fixture
def client(emulator: Emulator) -> keybound.ManagedIdentityClient:
    """A client without tokens; its first token needs a new key."""
    return keybound.ManagedIdentityClient(**emulator.client_settings)


@pytest.fixture(scope="session")
def warm_client(shared_emulator: Emulator) -> keybound.ManagedIdentityClient:
    """A client that tests share, with its certificate."""
    client = keybound.ManagedIdentityClient(**shared_emulator.client_settings)
    client.acquire_token(RESOURCE)
    return client


@pytest.fixture
def run(emulator: Emulator) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs Python code in another process, in the environment of the emulator."""

    def run(code: str, *arguments: str, timeout: float = 60, **variables: str) -> subprocess.CompletedProcess[str]:
        from os import environ

        return subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**environ, **emulator.environment(), **variables},
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    return run


@pytest.fixture
def emulated(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """An emulator that clients without arguments find, by the environment."""
    return _find(emulator, monkeypatch)


@pytest.fixture
def strict_emulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """An emulator that requires attestation, which clients without arguments find."""
    with Emulator() as emulator:
        yield _find(emulator, monkeypatch)


def _find(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    for name, value in emulator.environment().items():
        monkeypatch.setenv(name, value)
    return emulator
