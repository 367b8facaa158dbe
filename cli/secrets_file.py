"""Keys that an installation makes for itself once and must find again: `secrets.json` in the data folder, mode 0600."""

import os
import secrets
from pathlib import Path

import msgspec

from runtime import encryption


class InstallationSecrets(msgspec.Struct, frozen=True, kw_only=True):
    encryption_keys: str
    signing_key: str
    operator_token: str


class DemoKeys(msgspec.Struct, frozen=True, kw_only=True):
    """API keys of the two demo organizations."""

    api_key: str
    second_api_key: str


def load_or_make(data_dir: Path) -> InstallationSecrets:
    path = data_dir / "secrets.json"
    if path.exists():
        return msgspec.json.decode(path.read_bytes(), type=InstallationSecrets)
    made = InstallationSecrets(
        encryption_keys=encryption.generate_key(),
        signing_key=secrets.token_urlsafe(48),
        operator_token=f"op_{secrets.token_urlsafe(32)}",
    )
    write_private(path, msgspec.json.encode(made))
    return made


def load_demo_keys(data_dir: Path) -> DemoKeys | None:
    path = data_dir / "demo.json"
    return msgspec.json.decode(path.read_bytes(), type=DemoKeys) if path.exists() else None


def save_demo_keys(data_dir: Path, keys: DemoKeys) -> None:
    write_private(data_dir / "demo.json", msgspec.json.encode(keys))


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
