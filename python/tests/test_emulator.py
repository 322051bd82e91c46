from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from conftest import RESOURCE

from keybound import ManagedIdentityClient
from keybound.emulator import Emulator

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = [sys.executable, "-m", "keybound.emulator"]


def test_the_fixture(keybound_emulator: Emulator) -> None:
    assert keybound_emulator.counts() == {}
    client = ManagedIdentityClient(**keybound_emulator.client_settings)
    assert client.acquire_token(RESOURCE).token_type == "mtls_pop"


def test_faults_clock_and_records(emulator: Emulator) -> None:
    emulator.inject("token=status:503*2", "vault=close")
    assert emulator.pending_faults() == ["token=status:503*2", "vault=close"]
    emulator.clear_faults()
    assert emulator.pending_faults() == []
    with pytest.raises(ValueError, match="leg"):
        emulator.inject("moon=close")
    client = ManagedIdentityClient(**emulator.client_settings)
    client.supports_imds_v2()
    (record,) = emulator.records()
    assert (record["leg"], record["method"]) == ("probe", "GET")
    emulator.advance_clock(3600)
    emulator.reset()
    assert emulator.records() == []


def test_configuration(tmp_path: Path) -> None:
    for wrong in ("nonsense", "[imds]\nunknown = 1"):
        with pytest.raises(ValueError, match="."):
            Emulator(wrong)
    with Emulator(state_dir=tmp_path) as first:
        assert (tmp_path / "ca.pem").read_bytes() == first.ca_pem
        assert first.ca_file == str(tmp_path / "ca.pem")
        ca_pem = first.ca_pem
    with Emulator(state_dir=tmp_path) as second:
        assert second.ca_pem == ca_pem


def test_a_closed_emulator() -> None:
    emulator = Emulator()
    emulator.close()
    emulator.close()
    with pytest.raises(RuntimeError, match="closed"):
        emulator.records()


def test_environments(emulator: Emulator) -> None:
    assert emulator.environment()["AZURE_POD_IDENTITY_AUTHORITY_HOST"] == emulator.imds
    assert "IDENTITY_ENDPOINT" in emulator.environment("app-service")
    with pytest.raises(ValueError, match="no such source"):
        emulator.environment("moon")


def test_the_program_until_it_is_stopped(tmp_path: Path) -> None:
    ready_file = tmp_path / "ready.json"
    with subprocess.Popen([*PROGRAM, "--ready-file", str(ready_file)], stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        ready = json.loads(program.stdout.readline())
        assert ready["event"] == "ready"
        assert json.loads(ready_file.read_text()) == ready
        assert ready_file.stat().st_mode & 0o077 == 0
        program.send_signal(signal.SIGTERM)
        assert program.wait(timeout=60) == 0
    assert not ready_file.exists()


SHOW_READY_FILE = """
import json, os, sys
print(json.load(open(sys.argv[1]))["event"], oct(os.stat(sys.argv[1]).st_mode & 0o777))
"""


def with_ready_file(path: Path) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, "--ready-file", str(path), "--", sys.executable, "-c", SHOW_READY_FILE, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_ready_file_destroys_no_other_data(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_text("precious")
    done = with_ready_file(path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"keybound.emulator: --ready-file {path}: the file holds other data than a ready line\n"
    assert path.read_text() == "precious"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")
def test_a_ready_file_is_private(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.touch(0o644)
    assert with_ready_file(empty).stdout == "ready 0o600\n"
    assert not empty.exists()
    stale = tmp_path / "stale"
    stale.write_text('{"event": "ready", "control": {"secret": "s"}}')
    link = tmp_path / "link"
    link.symlink_to(stale)
    assert with_ready_file(link).stdout == "ready 0o600\n"
    assert link.is_symlink()
    assert not stale.exists()


def test_the_program_with_a_command() -> None:
    code = "import os, sys, keybound; keybound.ManagedIdentityClient().acquire_token('https://vault.azure.net'); sys.exit(7)"
    done = subprocess.run([*PROGRAM, "--", sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")


def test_the_help_of_the_program_names_the_command() -> None:
    done = subprocess.run([*PROGRAM, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m keybound.emulator [OPTION...] [-- COMMAND [ARGUMENT...]]\n")


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--", "/nonexistent"], 127),
        (["--fault", "moon=close"], 2),
        (["--state-dir", "/dev/null/x"], 1),
        (["--config", "/nonexistent"], 1),
    ],
)
def test_wrong_usage_of_the_program(arguments: list[str], status: int) -> None:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status
    assert done.stderr.startswith("keybound.emulator: ")
    assert "Traceback" not in done.stderr
