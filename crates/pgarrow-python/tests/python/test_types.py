"""The types that the package declares, by mypy and pyright."""

from __future__ import annotations

import inspect
import pathlib
import subprocess
import sys

import pgarrow_engine as pg
import pytest
from pgarrow_engine import _native

HERE = pathlib.Path(__file__).parent
PACKAGE = pathlib.Path(pg.__file__).parent
#: What packages without types are, is said there.
FOREIGN = ["--config-file", str(HERE.parents[1] / "pyproject.toml")]


def run(*command: str) -> str:
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=HERE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_mypy_takes_the_package() -> None:
    run("mypy", "--strict", "--cache-dir", "/dev/null", *FOREIGN, "-p", "pgarrow_engine")


def test_mypy_takes_a_program_that_uses_it() -> None:
    run("mypy", "--strict", "--cache-dir", "/dev/null", *FOREIGN, "example.py")


def test_mypy_finds_what_is_wrong(tmp_path: pathlib.Path) -> None:
    """Keywords are known by name and type: a test that could not fail would prove nothing."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        'import pgarrow_engine as pg\ndb = pg.connect()\ndb.read(table="a", batchrows=1)\n'
        'db.read(table="a", infinity="nul")\ndb.read(table="a", readers="2")\n'
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", "/dev/null", str(wrong)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    lines = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
    assert lines == {3, 4, 5}, done.stdout


def test_pyright_takes_a_program_that_uses_it() -> None:
    run("pyright", "--pythonpath", sys.executable, "example.py")


def test_the_native_module_is_as_its_stub_says() -> None:
    """The stub is written by hand; the names in it are those that are there."""
    stub = (PACKAGE / "_native.pyi").read_text()
    for name in ("Source", "Stream", "Held", "Transaction", "Memory", "Wake", "Opening"):
        there = {member for member in vars(getattr(_native, name)) if not member.startswith("__")}
        (body,) = [part for part in stub.split("\n\n") if part.startswith(f"@final\nclass {name}:")]
        declared = {
            line.split("(")[0].removeprefix("    def ") for line in body.splitlines() if "    def " in line
        }
        assert there == {member for member in declared if not member.startswith("__")}, name


@pytest.mark.parametrize("name", pg.__all__)
def test_everything_public_says_what_it_is(name: str) -> None:
    thing = getattr(pg, name)
    assert inspect.getdoc(thing), name
    for member, value in vars(thing).items() if inspect.isclass(thing) else ():
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, property)):
            assert inspect.getdoc(value), f"{name}.{member}"
