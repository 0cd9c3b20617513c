"""`dp setup`: secrets that differ, passwords as asked, nothing overwritten. And settings that can't be used."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from dataplatform_cli.errors import PlatformError
from dataplatform_cli.settings import StackSettings
from dataplatform_cli.setup import MACHINE_SECRETS, complete_env, unset_variables, write_env
from dataplatform_cli.stack.airflow import fernet_key


@pytest.fixture
def root(tmp_path: Path, repository: Path) -> Path:
    shutil.copy(repository / ".env.example", tmp_path)
    return tmp_path


def read(path: Path) -> StackSettings:
    return StackSettings(_env_file=path)  # type: ignore[call-arg]


def test_development_keeps_the_known_passwords_and_makes_secrets(root: Path) -> None:
    path = write_env(root, production=False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    settings = read(path)
    assert settings.airflow_admin_password.get_secret_value() == "admin"
    secrets = [getattr(settings, name.lower()).get_secret_value() for name in MACHINE_SECRETS]
    assert all(len(secret) > 30 for secret in secrets)
    assert len(set(secrets)) == len(secrets)


def test_production_generates_every_password(root: Path) -> None:
    example = read(root / ".env.example")
    settings = read(write_env(root, production=True))
    others = ("smtp_password", "kafka_sasl_password")
    for name in others:
        assert getattr(settings, name).get_secret_value() == "", "a password of another system can't be made up"
    names = [name for name in StackSettings.model_fields if name.endswith("_password") and name not in others]
    assert len(names) == 18
    values = {name: getattr(settings, name).get_secret_value() for name in names}
    assert len(set(values.values())) == len(names)
    assert not [name for name in names if values[name] == getattr(example, name).get_secret_value()]
    assert settings.minio_platform_user, "the pipelines have an account of their own"


def test_an_existing_file_is_left_alone(root: Path) -> None:
    (root / ".env").write_text("MINIO_PORT=9999\n")
    with pytest.raises(PlatformError, match="is there already"):
        write_env(root, production=True)
    assert (root / ".env").read_text() == "MINIO_PORT=9999\n"


def test_what_an_existing_file_leaves_blank_is_filled_in_once(root: Path) -> None:
    (root / ".env").write_text("# mine\nMINIO_PORT=9999\nMETADATA_API_KEY=kept\nAIRFLOW_FERNET_KEY=\n")
    assert complete_env(root) == ["AIRFLOW_FERNET_KEY"]
    lines = (root / ".env").read_text().splitlines()
    assert lines[:3] == ["# mine", "MINIO_PORT=9999", "METADATA_API_KEY=kept"]
    assert len(lines) == 4
    assert len(lines[3]) > 50
    assert complete_env(root) == []
    assert (root / ".env").read_text().splitlines() == lines
    assert stat.S_IMODE((root / ".env").stat().st_mode) == 0o600
    assert "MINIO_ROOT_USER" in unset_variables(root)
    assert "MINIO_PORT" not in unset_variables(root)


def test_the_fernet_key_is_one(root: Path) -> None:
    from cryptography.fernet import Fernet

    for settings in (read(write_env(root, production=False)), StackSettings(_env_file=None)):  # type: ignore[call-arg]
        box = Fernet(fernet_key(settings))
        assert box.decrypt(box.encrypt(b"x")) == b"x"


def test_a_password_with_any_character_makes_a_url(root: Path) -> None:
    settings = StackSettings(_env_file=None, warehouse_loader_password="p@ss:w/ö%rd")  # type: ignore[call-arg, arg-type]
    assert settings.dsn("loader") == "postgresql://loader:p%40ss%3Aw%2F%C3%B6%25rd@127.0.0.1:5432/warehouse"
