"""The cost of a cached token: `keybound`, msal and azure-identity in one process, in turn, with the emulator as IMDS.

    python hit.py [--rounds N] [--check]

Prints the median of the rounds in nanoseconds a call, and the ratios. With --check, exits with status 1 if one is above its limit.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any, Callable

import keybound
import keybound.msal
from keybound import aio
from keybound.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Awaitable

RESOURCE = "https://vault.azure.net"
# Of a round: few, so that most rounds are not interrupted by other processes.
CALLS = 250
# Of what is compared with: name, and the largest ratio.
LIMITS = {
    ("keybound", "msal"): 0.25,
    ("keybound", "azure-identity"): 0.1,
    ("keybound await", "msal"): 0.3,
    # It returns a dictionary, with the certificate in three forms.
    ("keybound.msal", "msal"): 0.5,
}
IMPORT_LIMIT_MS = 20.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=101)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    with Emulator() as emulator:
        os.environ.update(emulator.environment())
        medians = measure(contenders(), arguments.rounds)
    for name, nanoseconds in medians.items():
        print(f"{name:24} {nanoseconds:10.0f} ns")
    failed = False
    for (ours, theirs), limit in LIMITS.items():
        ratio = medians[ours] / medians[theirs]
        failed |= ratio > limit
        print(f"{ours} / {theirs}: {ratio:.3f} (limit {limit})")
    milliseconds = import_time()
    failed |= milliseconds > IMPORT_LIMIT_MS
    print(f"import: {milliseconds:.1f} ms (limit {IMPORT_LIMIT_MS})")
    return 1 if failed and arguments.check else 0


def contenders() -> dict[str, Callable[[int], float]]:
    """By name, a function that returns the seconds of a number of calls."""
    import msal
    import requests
    from azure.identity import ManagedIdentityCredential

    client = keybound.ManagedIdentityClient()
    async_client = aio.ManagedIdentityClient()
    compatible_client = keybound.msal.ManagedIdentityClient()
    pop = {"mtls_proof_of_possession": True, "with_attestation_support": True}
    msal_client = msal.ManagedIdentityClient(msal.SystemAssignedManagedIdentity(), http_client=requests.Session())
    credential = ManagedIdentityCredential()
    return {
        "keybound": blocking(lambda: client.acquire_token(RESOURCE)),
        "keybound bearer_token": blocking(lambda: client.bearer_token(RESOURCE)),
        "keybound await": awaiting(lambda: async_client.acquire_token(RESOURCE)),
        "keybound.msal": blocking(lambda: compatible_client.acquire_token_for_client(resource=RESOURCE, **pop)),
        "msal": blocking(lambda: msal_client.acquire_token_for_client(resource=RESOURCE)["access_token"]),
        "azure-identity": blocking(lambda: credential.get_token(RESOURCE + "/.default")),
    }


def blocking(call: Callable[[], Any]) -> Callable[[int], float]:
    def run(calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            call()
        return time.perf_counter() - started

    return run


def awaiting(call: Callable[[], Awaitable[Any]]) -> Callable[[int], float]:
    async def run(calls: int) -> float:
        started = time.perf_counter()
        for _ in range(calls):
            await call()
        return time.perf_counter() - started

    return lambda calls: asyncio.run(run(calls))


def measure(functions: dict[str, Callable[[int], float]], rounds: int) -> dict[str, float]:
    """The medians, in nanoseconds a call. Each round calls all."""
    for function in functions.values():
        function(10)
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            samples[name].append(function(CALLS) / CALLS * 1e9)
    return {name: statistics.median(values) for name, values in samples.items()}


def import_time() -> float:
    """In milliseconds, the median of several processes."""
    code = "import time; started = time.perf_counter(); import keybound; print((time.perf_counter() - started) * 1e3)"
    run = [subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(7)]
    return statistics.median(map(float, run))


if __name__ == "__main__":
    sys.exit(main())
