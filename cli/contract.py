"""`atelier.json` in the data folder: what programs outside need in order to talk to a running installation."""

from pathlib import Path

import msgspec

from cli import secrets_file

NAME = "atelier.json"


class Contract(msgspec.Struct, kw_only=True):
    """Written when everything is ready, mode 0600; removed at stop."""

    base_url: str
    operator_url: str
    operator_token: str
    api_key: str
    second_api_key: str
    metrics_urls: list[str]
    database_url: str
    """libpq's form, role atelier_system."""
    redis_url: str
    """Empty where messages travel over RabbitMQ and no Redis was given for the wake-ups."""
    rabbitmq_url: str = ""
    """Empty where they travel over Redis."""
    mail_dir: str
    storage_dir: str
    pids: dict[str, int]


def write(data_dir: Path, contract: Contract) -> None:
    text = msgspec.json.format(msgspec.json.encode(contract), indent=2)
    secrets_file.write_private(data_dir / NAME, text + b"\n")


def remove(data_dir: Path) -> None:
    (data_dir / NAME).unlink(missing_ok=True)


def read(data_dir: Path) -> Contract | None:
    """None: nothing is running there."""
    path = data_dir / NAME
    return msgspec.json.decode(path.read_bytes(), type=Contract) if path.exists() else None
