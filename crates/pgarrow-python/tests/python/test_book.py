"""The book's page about Python, and the package's README: every block runs, as a reader would run it."""

from __future__ import annotations

import io
import pathlib
import re
from contextlib import redirect_stdout

import pytest
from _dist_support import ORDERS, environment
from conftest import Psql

ROOT = pathlib.Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def shop(dsn: str, psql: Psql, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    psql("DROP TABLE IF EXISTS orders, orders_copy")
    for statement in ORDERS:
        psql(statement)
    for name, value in environment(dsn).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


def blocks(path: str) -> list[str]:
    found = re.findall(r"^```python\n(.*?)^```$", (ROOT / path).read_text(), re.MULTILINE | re.DOTALL)
    assert found, f"{path} has no blocks"
    return found


def test_the_page_about_python(psql: Psql) -> None:
    printed = io.StringIO()
    names: dict[str, object] = {"__name__": "__page__"}
    with redirect_stdout(printed):
        for block in blocks("docs/src/python.md"):
            exec(compile(block, "docs/src/python.md", "exec"), names)
    said = printed.getvalue()
    assert "due 1 ('infinity=null|saturate', 'column=due:text')" in said
    assert said.count("20000") >= 4, said
    assert psql("SELECT count(*) FROM orders_copy WHERE total <= 100") == [(0,)]


def test_the_readme_of_the_package(psql: Psql) -> None:
    for block in blocks("crates/pgarrow-python/README.md"):
        # The environment names the server of the tests.
        exec(block.replace('"postgresql://me@localhost/shop"', ""), {})
    assert psql("SELECT count(*) FROM orders_copy") == psql("SELECT count(*) FROM orders WHERE total > 100")


def test_the_book_lists_its_pages() -> None:
    summary = (ROOT / "docs/src/SUMMARY.md").read_text()
    for page in ("python.md", "adbc.md", "spark.md", "ray-dask.md"):
        assert f"({page})" in summary and (ROOT / "docs/src" / page).is_file(), page
