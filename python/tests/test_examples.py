"""The programs of examples/python and of the pages, against an emulator with its default configuration."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import partial
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from keybound.emulator import Emulator

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples/python"
SECRET = "only the holder of the key reads this"
USER_CLIENT_ID = "5a5a5a5a-0000-4000-8000-000000000002"
# The packages that a program needs, and its output.
PROGRAMS: dict[str, tuple[tuple[str, ...], str]] = {
    "azure_sdk.py": (("azure.keyvault.secrets",), r"greeting has 5 characters\nsecrets: demo-secret, greeting\n"),
    "httpx_calls.py": (("httpx",), rf"secret: {len(SECRET)} characters\npages: \[200, 200, 200\]\n"),
    "msal_dev_app.py": ((), r"certificate: (.*\n){3}binding: verified\nresponse: HTTP 200, members: .*value\n"),
    "msal_end_to_end.py": ((), r"(ok     [a-z ]+\n){5}"),
    "msal_once.py": ((), r"token received for https://graph\.microsoft\.com, valid for \d+ s\n"),
    "msal_quick_start.py": ((), r"token type: mtls_pop\nthumbprint: [\w-]{43}\n-----BEGIN CERTIFICATE-----\n(.*\n)+"),
    "msal_sample.py": (
        ("requests",),
        r"token type: mtls_pop, valid for \d+ s\nthumbprint: .*\nbinding: verified\nresponse: HTTP 200, \d+ bytes\n",
    ),
    "six_lines.py": ((), rf"{len(SECRET)} characters\n"),
}
SERVICES = {"flask_service.py"}


@pytest.fixture(scope="module")
def example_emulator() -> Iterator[Emulator]:
    with Emulator() as emulator:
        yield emulator


def run(emulator: Emulator, name: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(EXAMPLES / name)],
        env={**os.environ, "PYTHONUTF8": "1", **emulator.environment(), **variables},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def test_every_example_is_tested_and_listed() -> None:
    names = {path.name for path in EXAMPLES.glob("*.py")}
    assert names == PROGRAMS.keys() | SERVICES
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| \[(\w+\.py)\]", listed, re.MULTILINE)) == names


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_examples_run(example_emulator: Emulator, name: str) -> None:
    packages, output = PROGRAMS[name]
    for package in packages:
        pytest.importorskip(package)
    result = run(example_emulator, name)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(output, result.stdout), result.stdout
    assert SECRET not in result.stdout


def test_programs_take_their_settings_from_the_environment(example_emulator: Emulator) -> None:
    vault = example_emulator.vault
    settings = {"MSI_V2_VAULT_URL": vault, "MSI_V2_SECRET_NAME": "absent", "MSI_V2_CLIENT_ID": USER_CLIENT_ID}
    result = run(example_emulator, "msal_end_to_end.py", **settings)
    assert result.returncode == 1
    assert result.stdout.endswith("FAILED call\n")
    graph = f"{example_emulator.graph}/v1.0/applications"
    settings = {"MSI_V2_RESOURCE": "https://graph.microsoft.com", "MSI_V2_DOWNSTREAM_URL": graph}
    assert run(example_emulator, "msal_end_to_end.py", **settings).returncode == 0
    url = f"{vault}/secrets/absent?api-version=7.4"
    result = run(example_emulator, "msal_dev_app.py", UAMI_CLIENT_ID=USER_CLIENT_ID, DOWNSTREAM_URL=url)
    assert result.returncode == 1
    assert USER_CLIENT_ID in result.stdout
    assert "HTTP 404" in result.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="it has certificate stores")
def test_the_test_of_a_host_needs_windows_for_stored_certificates(example_emulator: Emulator) -> None:
    result = run(example_emulator, "msal_end_to_end.py", MSI_V2_CERT_THUMBPRINT="0" * 40)
    assert (result.returncode, result.stdout.count("ok  ")) == (1, 5)
    assert result.stdout.endswith("FAILED certificate store\n")
    assert result.stderr == "WindowsCertificate.from_store() is only supported on Windows\n"


def test_the_sample_logs_each_step_on_request(example_emulator: Emulator) -> None:
    pytest.importorskip("requests")
    url = f"{example_emulator.graph}/v1.0/applications?$top=1"
    result = run(example_emulator, "msal_sample.py", MSI_V2_VERBOSE="1", RESOURCE_URL=url)
    assert result.returncode == 0, result.stderr
    assert "DEBUG:msal.msi_v2:bound token for https://graph.microsoft.com acquired" in result.stderr
    assert "keybound" in result.stderr
    # No JWT.
    assert "eyJ" not in result.stdout + result.stderr


def test_the_one_shot_program_reports_failures_by_its_status(example_emulator: Emulator) -> None:
    result = run(example_emulator, "msal_once.py", RESOURCE="https://management.azure.com")
    assert (result.returncode, result.stdout) == (2, "")
    # A record of the failure may come before, between and after them.
    assert re.search(r"^no token: \[msi_v2\] .*392196", result.stderr, re.MULTILINE), result.stderr
    assert re.search(r"^next step: .+", result.stderr, re.MULTILINE), result.stderr
    assert "Traceback" not in result.stderr


def test_the_service_calls_the_vault(example_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("flask")
    for variable, value in example_emulator.environment().items():
        monkeypatch.setenv(variable, value)
    loader = SourceFileLoader("flask_service", str(EXAMPLES / "flask_service.py"))
    service = ModuleType(loader.name)
    loader.exec_module(service)
    client = service.app.test_client()
    response = client.get("/secrets/demo-secret")
    assert (response.status_code, response.json) == (200, {"name": "demo-secret", "characters": len(SECRET)})
    assert client.get("/secrets/absent").status_code == 404
    assert client.get("/secrets/a.b").status_code == 400
    example_emulator.inject("vault=status:503*1")
    response = client.get("/secrets/demo-secret")
    assert (response.status_code, response.json) == (503, {"error": "service_unavailable"})
    example_emulator.inject("vault=status:403*1")
    assert client.get("/secrets/demo-secret").status_code == 502


def snippets() -> Iterator[tuple[str, int, str]]:
    for page in sorted((REPOSITORY / "docs/python").glob("*.md")):
        blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        # Its second one completes the first.
        if page.name == "aiohttp.md":
            blocks = ["".join(blocks)]
        for number, block in enumerate(blocks):
            yield page.name, number, block


# The packages that the snippets of a page need.
NEEDED = {
    "aiohttp.md": "aiohttp",
    "azure.md": "azure.keyvault.secrets",
    "httpx.md": "httpx",
    "requests.md": "requests",
    "urllib3.md": "urllib3",
}


@pytest.mark.parametrize(("page", "number", "code"), [pytest.param(*found, id=f"{found[0]}-{found[1]}") for found in snippets()])
def test_snippets_run(page: str, number: int, code: str, example_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip(NEEDED.get(page, "keybound"))
    if page == "key_attestation.md":
        pytest.skip("it needs Windows and the native library")
    for variable, value in example_emulator.environment().items():
        monkeypatch.setenv(variable, value)
    # The only differences: the vault is the simulated one, whose address is not in the domain of Key Vault.
    code = code.replace("https://my-vault.vault.azure.net", example_emulator.vault).replace("secrets/db", "secrets/demo-secret")
    code = code.replace('get_secret("db")', 'get_secret("demo-secret")')
    if page == "azure.md":
        from azure.keyvault.secrets import SecretClient

        monkeypatch.setattr("azure.keyvault.secrets.SecretClient", partial(SecretClient, verify_challenge_resource=False))
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(code, page, "exec", dont_inherit=True), names)
    for name in names.keys() & {"test_reads_the_secret"}:
        names[name](example_emulator)


def test_extras_are_quoted() -> None:
    # Some shells expand brackets.
    pages = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("python/*.md"), *EXAMPLES.iterdir()]
    for page in pages:
        if page.is_file():
            assert not re.search(r"pip install [^\n\"]*(?<!\")keybound\[", page.read_text(encoding="utf-8")), page


def test_the_pages_have_the_six_lines() -> None:
    program = (EXAMPLES / "six_lines.py").read_text(encoding="utf-8").split('"""\n\n')[1]
    for page in ("README.md", "docs/python/README.md", "python/README.md"):
        assert f"```python\n{program}```" in (REPOSITORY / page).read_text(encoding="utf-8"), page
