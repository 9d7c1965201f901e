"""Which installation the command talks to: a file found upward, below the environment."""

import json
from pathlib import Path

import pytest

from baton_cli.output import Failed
from baton_cli.settings import load


def write(folder: Path, content: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cli.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


def test_without_a_file_the_local_stack_is_meant(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.urls["sales-feedback"] == "http://127.0.0.1:8103"
    assert settings.api_key is None
    assert settings.origin["api_key"] == "not set"


def test_the_file_is_found_above_and_the_environment_wins(tmp_path, monkeypatch):
    write(
        tmp_path / ".baton",
        {"api_key": "of-file", "lead-intake": {"url": "http://a/"}, "kafka": {"topic_prefix": "x."}},
    )
    deep = tmp_path / "one" / "two"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    settings = load(None, {"BATON_LEAD_INTAKE_URL": "http://b/", "BATON_KAFKA__BOOTSTRAP_SERVERS": "k:1"})
    assert settings.api_key == "of-file"
    assert settings.urls["lead-intake"] == "http://b"
    assert settings.kafka == {"bootstrap_servers": "k:1", "topic_prefix": "x."}
    assert settings.origin["lead-intake"] == "BATON_LEAD_INTAKE_URL"


def test_a_secret_can_come_from_a_file(tmp_path):
    write(tmp_path, {})
    (tmp_path / "key").write_text("of-file\n")
    assert load(tmp_path, {"BATON_API_KEY_FILE": str(tmp_path / "key")}).api_key == "of-file"
    with pytest.raises(Failed, match="BATON_API_KEY_FILE cannot be read"):
        load(tmp_path, {"BATON_API_KEY_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), ("[]", "is not a JSON object")])
def test_a_broken_file_is_named(tmp_path, content, message):
    with pytest.raises(Failed, match=message):
        load(write(tmp_path, content), {})


def test_a_home_without_settings_is_named(tmp_path):
    with pytest.raises(Failed, match=r"holds no cli\.json"):
        load(tmp_path, {})


def test_config_show_hides_every_key(baton, monkeypatch):
    monkeypatch.setenv("BATON_KAFKA__SASL_PASSWORD", "hush")
    for words in (["config", "show"], ["config", "show", "--redacted", "--json"]):
        said = baton(*words)
        assert said.code == 0
        assert "***" in said.out
        assert not [secret for secret in ("bk_operator", "bk_anna", "hush") if secret in said.out]
    assert baton("config", "show", "--with-secrets", "--json").json["api_key"] == "bk_operator"
