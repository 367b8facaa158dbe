"""Runs the migrations from code (`atelier migrate`, `atelier up`, tests), so that no alembic.ini is needed."""

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations import functions

HERE = Path(__file__).parent


def upgrade(owner_url: str) -> None:
    """To the newest revision. Blocking, and starts an event loop of its own: call it from a thread or a process.

    Raises OutdatedDatabaseError.
    """
    config = _config(owner_url)
    config.attributes["digest"] = functions.digest()
    command.upgrade(config, "head")


def head() -> str:
    """The revision that this code belongs to."""
    return ScriptDirectory.from_config(_config("")).get_current_head() or ""


def check(owner_url: str) -> None:
    """Raises alembic's CommandError when the models and the migrated tables differ."""
    command.check(_config(owner_url))


def as_sql() -> str:
    """Every migration as the SQL it would run."""
    text = io.StringIO()
    config = _config("")
    config.output_buffer = text
    command.upgrade(config, "head", sql=True)
    return text.getvalue()


def _config(owner_url: str) -> Config:
    config = Config(stdout=io.StringIO())
    config.set_main_option("script_location", str(HERE))
    config.set_main_option("path_separator", "os")
    config.attributes["url"] = owner_url
    return config
