"""When a stack that starts again may skip a migration."""

from pathlib import Path

import pytest

from baton_local.databases import newest_revision


def package(root: Path, revisions: dict[str, str | None]) -> str:
    versions = root / "sample_service" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / "sample_service" / "__init__.py").touch()
    for name, before in revisions.items():
        down = "None" if before is None else f'"{before}"'
        (versions / f"{name}.py").write_text(f'revision: str = "{name}"\ndown_revision = {down}\n')
    return "sample_service"


@pytest.mark.parametrize(
    ("revisions", "newest"),
    [
        ({"0001": None}, "0001"),
        ({"0001": None, "0002": "0001", "0003": "0002"}, "0003"),
        ({"0001": None, "0002a": "0001", "0002b": "0001"}, None),
        ({}, None),
    ],
)
def test_the_newest_revision_is_the_one_that_no_other_builds_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, revisions: dict[str, str | None], newest: str | None
) -> None:
    name = package(tmp_path, revisions)
    monkeypatch.syspath_prepend(tmp_path)
    assert newest_revision(name) == newest


def test_a_package_without_migrations_is_always_migrated() -> None:
    assert newest_revision("baton_local") is None
    assert newest_revision("no_such_package") is None
