"""Runs the migrations from code (`atelier migrate`, `atelier up`, tests), so that no alembic.ini is needed."""

import io
import time
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError

from migrations.compatibility import IncompatibleDatabaseError

HERE = Path(__file__).parent
TRIES: Final = 20
PAUSE: Final = 1.0

_PASSING: Final = frozenset({"55P03", "40P01"})  # lock_not_available, deadlock_detected
_OTHER_SIGNATURE: Final = frozenset({"42P13", "42725"})  # invalid_function_definition, ambiguous_function
_RENAMED: Final = (
    "the database has a function of another signature under the name of one of this code: a released signature never "
    "changes, so this is data of development; remove the data folder (ATELIER_DATA_DIR) or the database, and start "
    "again"
)


def upgrade(owner_url: str) -> str:
    """To the newest revision, with this code's functions; a newer database is left as it is. Safe beside processes at
    work and beside other migrators. Tries again while tables are locked. Returns what became of it, for people.

    Blocking, and starts an event loop of its own: call it from a thread or a process. Raises IncompatibleDatabaseError.
    """
    config = _config(owner_url)
    config.attributes["functions"] = True
    tries = 0
    while True:
        tries += 1
        try:
            command.upgrade(config, "head")
        except DBAPIError as error:
            if tries == TRIES or _state(error) not in _PASSING:
                raise _explained(error) from error
        else:
            return _outcome(config)
        time.sleep(PAUSE)


def _outcome(config: Config) -> str:
    if newer := config.attributes.get("newer"):
        return f"the database is at revision {newer}, which still carries this older release; it is left as it is"
    return "the database is up to date"


def _state(error: DBAPIError) -> str:
    """SQLSTATE."""
    return getattr(error.orig, "sqlstate", "")


def _explained(error: DBAPIError) -> Exception:
    return IncompatibleDatabaseError(_RENAMED) if _state(error) in _OTHER_SIGNATURE else error


def check(owner_url: str) -> None:
    """Raises alembic's CommandError when the models and the migrated tables differ."""
    command.check(_config(owner_url))


def as_sql() -> str:
    """Every revision as the SQL it would run."""
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
