"""An installation of its own: what it is given, so that it shares nothing with any other on this machine."""

from pathlib import Path

import msgspec

from runtime.settings import Settings


def settings(given: Settings, folder: Path, **more: object) -> Settings:
    """All it keeps is in `folder`, its ports are free ones, and its webhooks may go to this machine."""
    changed = {
        "data_dir": folder / "var",
        "storage_dir": folder / "var/storage",
        "mail_dir": folder / "var/mail",
        "port": 0,
        "operator_port": 0,
        "outbound_allow": "127.0.0.0/8",
        "webhook_insecure_http": True,
    }
    return msgspec.structs.replace(given, **(changed | more))
