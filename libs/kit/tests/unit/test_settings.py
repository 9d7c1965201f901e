import base64
from pathlib import Path

import pytest

from baton_kit.settings import ServiceSettings, load_settings

GOOD = {
    "BATON_DATABASE__URL": "postgresql://u:hunter2@h/d",
    "BATON_KAFKA__BOOTSTRAP_SERVERS": "k:9092",
    "BATON_SEAL_KEY": base64.b64encode(bytes(32)).decode(),
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GOOD.items():
        monkeypatch.setenv(name, value)


def test_all_errors_are_named_at_once_and_no_value_is_repeated(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATON_SEAL_KEY", "short-secret")
    monkeypatch.setenv("BATON_HTTP__PORT", "eighty-secret")
    monkeypatch.delenv("BATON_KAFKA__BOOTSTRAP_SERVERS")
    monkeypatch.setenv("BATON_KAFKA__TOPIC_PREFIX", "x.")
    with pytest.raises(SystemExit) as stopped:
        load_settings(ServiceSettings)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert "BATON_SEAL_KEY" in said
    assert "BATON_HTTP__PORT" in said
    assert "BATON_KAFKA__BOOTSTRAP_SERVERS" in said
    assert "secret" not in said


def test_a_value_that_should_be_json_ends_with_2_and_without_the_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BATON_DATABASE", "not-json-secret")
    with pytest.raises(SystemExit) as stopped:
        load_settings(ServiceSettings)
    assert stopped.value.code == 2
    assert "secret" not in capsys.readouterr().err


def test_a_secret_can_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://from/file\n")
    monkeypatch.delenv("BATON_DATABASE__URL")
    monkeypatch.setenv("BATON_DATABASE__URL_FILE", str(tmp_path / "url"))
    assert load_settings(ServiceSettings).database.url.get_secret_value() == "postgresql://from/file"


def test_a_file_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("BATON_DATABASE__URL")
    monkeypatch.setenv("BATON_DATABASE__URL_FILE", "/nowhere")
    with pytest.raises(SystemExit):
        load_settings(ServiceSettings)
    said = capsys.readouterr().err
    assert "BATON_DATABASE__URL_FILE" in said
    assert "BATON_DATABASE__URL:" in said


def test_secrets_are_not_shown() -> None:
    found = repr(load_settings(ServiceSettings))
    assert "hunter2" not in found
    assert GOOD["BATON_SEAL_KEY"] not in found
