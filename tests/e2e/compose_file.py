"""compose.yaml as an engine would understand it: merged, its variables filled in, its services in order of start."""

import json
import re
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "compose.yaml"
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>[A-Z_]+)(?:(?P<kind>:\?|:-)(?P<rest>[^}]*))?\})")


class MissingVariableError(Exception):
    """A required variable has no value; the text is what compose would say."""


def variables() -> dict[str, str]:
    """Name to the kind of each variable: `:?` required, `:-` with a default, an empty string for neither."""
    return {found["name"]: found["kind"] or "" for found in _VARIABLE.finditer(COMPOSE.read_text()) if found["name"]}


def services(environment: Mapping[str, str]) -> dict[str, Any]:
    """Raises MissingVariableError."""
    found: dict[str, Any] = _fill(yaml.safe_load(COMPOSE.read_text()), environment)["services"]
    return found


def start_order(found: Mapping[str, Any]) -> list[str]:
    """Raises graphlib.CycleError."""
    return list(
        TopologicalSorter({name: list(service.get("depends_on", {})) for name, service in found.items()}).static_order()
    )


def entrypoint() -> list[str]:
    """What the image runs; a service's command follows it."""
    [line] = re.findall(r"^ENTRYPOINT (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    words: list[str] = json.loads(line)
    return words


def _fill(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _fill(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_fill(item, environment) for item in value]
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _value(found, environment), value)
    return value


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    if not (name := found["name"]):
        return "$"
    if given := environment.get(name):
        return given
    if found["kind"] == ":?":
        raise MissingVariableError(f"{name}: {found['rest']}")
    return found["rest"] or ""
