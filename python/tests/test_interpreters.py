"""Interpreters other than the first one of a process, and the import."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from subprocess import CompletedProcess

SUBINTERPRETER = """
import sys
try:
    import _interpreters as interpreters
except ImportError:
    try:
        import _xxsubinterpreters as interpreters
    except ImportError:
        sys.exit(0)
if sys.argv[1] == "after":
    import keybound
    keybound.ManagedIdentityClient().acquire_token("https://vault.azure.net")
code = '''
try:
    import keybound
    keybound.ManagedIdentityClient().acquire_token("https://vault.azure.net")
    result = "works"
except ImportError as error:
    result = f"refused: {error}"
print(result)
'''
for _ in range(3):
    interpreter = interpreters.create()
    interpreters.run_string(interpreter, code)
    interpreters.destroy(interpreter)
print("done")
"""


def test_interpreters_work_or_refuse_the_import(run: Callable[..., CompletedProcess[str]]) -> None:
    for moment in ("before", "after"):
        done = run(SUBINTERPRETER, moment)
        assert done.returncode == 0, done.stderr
        assert "panicked" not in done.stderr
        *results, end = done.stdout.splitlines() or ["done"]
        assert end == "done"
        assert all(result.startswith(("works", "refused: ")) for result in results)


def test_the_import_is_light(run: Callable[..., CompletedProcess[str]]) -> None:
    code = "import sys; before = set(sys.modules); import keybound; print(*sorted(set(sys.modules) - before))"
    modules = run(code).stdout.split()
    assert "keybound._native" in modules
    heavy = {
        "asyncio",
        "email",
        "http.client",
        "httpx",
        "logging",
        "json",
        "requests",
        "socket",
        "ssl",
        "subprocess",
        "urllib.request",
    }
    assert heavy.isdisjoint(modules)


def test_the_package_has_its_types_and_version() -> None:
    from importlib.metadata import entry_points, files, version

    import keybound

    assert keybound.__version__ == version("keybound")
    names = {str(path) for path in files("keybound") or []}
    assert {"keybound/py.typed", "keybound/_native.pyi"} <= names
    assert not any("tests/" in name for name in names)
    plugins = entry_points(group="pytest11") if sys.version_info >= (3, 10) else entry_points()["pytest11"]
    assert [plugin.value for plugin in plugins if plugin.name == "keybound"] == ["keybound_pytest"]


def test_the_plugin_of_pytest_loads_no_more_than_itself(run: Callable[..., CompletedProcess[str]]) -> None:
    done = run("import keybound_pytest, sys; print([name for name in sys.modules if name.partition('.')[0] == 'keybound'])")
    assert done.stdout == "[]\n", done.stderr
