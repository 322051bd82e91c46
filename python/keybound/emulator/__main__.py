"""The emulator as a program: alone until it is stopped, or with a command."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from keybound import _native
from keybound.emulator import Emulator

if TYPE_CHECKING:
    from types import FrameType

_SIGNAL_INTERVAL = 0.1
_SOURCES = ("imds", "app-service", "container-apps", "service-fabric", "arc", "machine-learning", "cloud-shell")
# By which client libraries detect a source.
_SOURCE_VARIABLES = (
    "DEFAULT_IDENTITY_CLIENT_ID",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
    "IMDS_ENDPOINT",
    "MSI_ENDPOINT",
    "MSI_SECRET",
)


def main() -> int:
    """Runs the program and returns its exit status."""
    arguments, command = _parse()
    signals = [signal.SIGINT, signal.SIGTERM] + ([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])
    for number in signals:
        signal.signal(number, _stop)
    try:
        # First: a program that waits for the file must not read the file of an earlier emulator, even if this one fails.
        ready_file = _native.ReadyFile(arguments.ready_file) if arguments.ready_file else None
        config = Path(arguments.config).read_text(encoding="utf-8") if arguments.config else None
        with ExitStack() as stack:
            emulator = stack.enter_context(Emulator(config, state_dir=arguments.state_dir))
            emulator.inject(*arguments.fault)
            if ready_file:
                stack.callback(ready_file.close)
                # It contains the secret of the control endpoint.
                ready_file.write(json.dumps(emulator.ready))
            return _run_command(command, emulator, arguments.source) if command else _run_alone(emulator)
    except _Stopped:
        return 0
    except (OSError, ValueError) as error:
        print(f"keybound.emulator: {error}", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1


def _parse() -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(
        prog="python -m keybound.emulator",
        usage="%(prog)s [OPTION...] [-- COMMAND [ARGUMENT...]]",
        description="Run simulated IMDS, attestation, Entra, Key Vault and Graph on loopback. The first line on standard output is "
        "a JSON object with their addresses. They run until SIGINT, SIGTERM or SIGHUP, or until the command after -- ends.",
    )
    parser.add_argument(
        "--config", metavar="FILE", help="read tenant, identities, lifetimes, secrets and faults from this TOML file"
    )
    parser.add_argument("--fault", metavar="LEG=ACTION", action="append", default=[], help="inject a fault; may be repeated")
    parser.add_argument("--state-dir", metavar="DIR", help="store the CA in this directory")
    parser.add_argument("--ready-file", metavar="FILE", help="also write the ready line to this file, which is removed at the end")
    parser.add_argument("--source", choices=_SOURCES, default="imds", help="the source whose environment the command gets")
    given = sys.argv[1:]
    split = given.index("--") if "--" in given else len(given)
    return parser.parse_args(given[:split]), given[split + 1 :]


def _run_alone(emulator: Emulator) -> int:
    print(json.dumps(emulator.ready), flush=True)
    while True:
        # Not `signal.pause`: a signal that arrives just before it would have no effect.
        time.sleep(_SIGNAL_INTERVAL)


def _run_command(command: list[str], emulator: Emulator, source: str) -> int:
    environment = {name: value for name, value in os.environ.items() if name not in _SOURCE_VARIABLES}
    environment.update(emulator.environment(source))
    try:
        running = subprocess.Popen(command, env=environment)
    except FileNotFoundError as error:
        print(f"keybound.emulator: {error}", file=sys.stderr)
        return 127
    except PermissionError as error:
        print(f"keybound.emulator: {error}", file=sys.stderr)
        return 126
    while True:
        try:
            status = running.wait(_SIGNAL_INTERVAL)
            return 128 - status if status < 0 else status
        except subprocess.TimeoutExpired:
            pass
        except _Stopped as stopped:
            # A terminal sends SIGINT to the command as well.
            if stopped.number != signal.SIGINT:
                running.send_signal(stopped.number)


class _Stopped(Exception):
    """A signal that asks to stop."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _stop(number: int, _frame: FrameType | None) -> None:
    raise _Stopped(number)


if __name__ == "__main__":
    sys.exit(main())
