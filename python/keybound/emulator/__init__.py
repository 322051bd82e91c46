"""Simulated services for managed identities, on loopback: IMDS, the attestation service, Entra's mTLS token endpoint, a Key Vault
that requests the certificate after the request, Graph, and the other sources of bearer tokens.

    with Emulator() as emulator:
        client = keybound.ManagedIdentityClient(**emulator.client_settings)
        vault = client.resource("https://vault.azure.net")
        print(vault.get(f"{emulator.vault}/secrets/db?api-version=7.4").json())

They reject what the real services reject, and inject faults on demand. Their certificates and tokens are worthless elsewhere.
``python -m keybound.emulator`` runs them as a program; the fixture ``keybound_emulator`` of pytest as long as a test.
"""

from __future__ import annotations

import atexit
import json
import weakref
from typing import TYPE_CHECKING, Any

from keybound import _native
from keybound._not_picklable import NotPicklable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from typing_extensions import Self

__all__ = ["Emulator"]

_running: weakref.WeakSet[Emulator] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for emulator in list(_running):
        emulator.close()


class Emulator(NotPicklable):
    """The services, from construction until `close` or the end of a ``with`` block, on a separate thread.

    Children of a fork can use them: there, the addresses, `ca_pem` and `client_settings` are the same. Only the process that
    started them can control them; elsewhere faults, records and the like are a ``RuntimeError``.
    """

    def __init__(self, config: str | None = None, *, state_dir: str | PathLike[str] | None = None) -> None:
        """Starts the services on free ports. All listen when this returns.

        Args:
            config: the configuration, TOML; see docs/emulator.md.
            state_dir: a directory for the authority's certificate and key, so that later emulators have the same. By default
                each has its own.

        Raises:
            ValueError: if the configuration is malformed.
            OSError: if a port is in use or the host lacks a resource.

        """
        self._native = _native.Emulator(config, state_dir)
        _running.add(self)
        # Kept, as children of a fork find the services by them.
        self._ready: dict[str, Any] = json.loads(self._native.ready)
        self._ca_pem = self._native.ca_pem

    @property
    def ready(self) -> dict[str, Any]:
        """The addresses of the services, as in the first line that ``python -m keybound.emulator`` prints. It contains secrets of
        the emulator: that of its control endpoint and those of its sources.
        """
        return self._ready

    @property
    def imds(self) -> str:
        """The origin of IMDS, plain HTTP."""
        return str(self._ready["imds"])

    @property
    def sts(self) -> str:
        """The origin of Entra's token service."""
        return str(self._ready["sts"])

    @property
    def vault(self) -> str:
        """The origin of the simulated Key Vault."""
        return str(self._ready["vault"])

    @property
    def graph(self) -> str:
        """The origin of the simulated Graph."""
        return str(self._ready["graph"])

    @property
    def ca_pem(self) -> bytes:
        """The certificate of the authority of all services with TLS, PEM."""
        return self._ca_pem

    @property
    def ca_file(self) -> str:
        """The file with `ca_pem`."""
        return str(self._ready["ca_file"])

    @property
    def client_settings(self) -> dict[str, Any]:
        """The arguments of a `keybound.ManagedIdentityClient` that uses these services, with simulated keys."""
        return {"imds_endpoint": self.imds, "loopback_ca_pem": self.ca_pem, "simulated": True}

    def environment(self, source: str = "imds") -> Mapping[str, str]:
        """The environment variables by which programs find the services and detect a source: ``"imds"``, ``"app-service"``,
        ``"container-apps"``, ``"service-fabric"``, ``"arc"``, ``"machine-learning"`` or ``"cloud-shell"``. They contain secrets.

        Raises:
            ValueError: if there is no such source.

        """
        return self._native.environment(source)

    def inject(self, *faults: str) -> None:
        """Adds faults, ``LEG=ACTION[:ARG][*COUNT]``, such as ``"token=status:503*2"``; see docs/emulator.md.

        Raises:
            ValueError: if one is malformed, or too many are pending.

        """
        for fault in faults:
            self._native.inject(fault)

    def pending_faults(self) -> list[str]:
        """The faults that did not happen yet."""
        return self._native.faults()

    def clear_faults(self) -> None:
        """Removes all faults."""
        self._native.clear_faults()

    def records(self) -> list[dict[str, Any]]:
        """The records of the last 1000 requests, oldest first, without secrets."""
        records: list[dict[str, Any]] = json.loads(self._native.records())
        return records

    def counts(self) -> dict[str, int]:
        """The number of requests by leg (``"metadata"``, ``"token"``, …), and of TLS connections (``"token-tls"``, …)."""
        return self._native.counts()

    def advance_clock(self, seconds: int) -> None:
        """Advances the clock of the services, or, if negative, sets it back."""
        self._native.advance_clock(seconds)

    def reset(self) -> None:
        """Removes faults, records and issued certificates, and resets the clock."""
        self._native.reset()

    def close(self) -> None:
        """Stops the services and closes their connections."""
        self._native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<keybound.emulator.Emulator {self.imds}>"
