"""Who is given which secret."""

from typing import get_type_hints

from cli import installation
from runtime.settings import Secret, Settings


def test_each_secret_there_is_says_who_holds_it():
    secrets = {name for name, kind in get_type_hints(Settings).items() if kind is Secret}
    assert set(installation.HOLDERS) == secrets
    assert all(holders <= set(installation.COMMANDS) for holders in installation.HOLDERS.values())
