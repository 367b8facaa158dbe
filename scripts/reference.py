"""Writes the documents that are made from the code: docs/settings.md and docs/errors.md.

`python -m scripts.reference` writes them; with `--check` it changes nothing and fails when one is out of date.
"""

import ast
import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

import domain
from api import problems
from domain.errors import DomainError
from runtime import settings

DOCS = Path(__file__).resolve().parents[1] / "docs"

DEFAULTS = {field.name: field.default for field in msgspec.structs.fields(settings.Settings)}
_KINDS = {"str": "text", "int": "whole number", "float": "number", "bool": "true or false", "Path": "path"}


def settings_page() -> str:
    return _page(
        "Settings",
        "Every setting is an environment variable, or a line of a file `.env` here; the environment wins. "
        "Nothing has to be set for `make run`. Durations are seconds, sizes are bytes. A name that is not listed here, "
        "or a value that does not fit, stops a process as it starts, with a line that says which.",
        *_settings(),
    )


def errors_page() -> str:
    kinds = sorted(errors(), key=lambda kind: kind.code)
    rows = [f"| `{kind.code}` | {problems.status_of(kind)} | {kind.title()}. |" for kind in kinds]
    return _page(
        "Errors",
        "A refusal is `application/problem+json` (RFC 9457). Its `code` is stable: programs branch on it, never on the "
        "text, which may say more than here.",
        "\n".join(["| code | status | what it says |", "|---|---|---|", *rows]),
    )


def errors() -> Iterator[type[DomainError]]:
    """Every kind of refusal: of the HTTP edge, and of every module of the domain."""
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        if module.name.rpartition(".")[2] == "errors":
            importlib.import_module(module.name)
    waiting = list(DomainError.__subclasses__())
    while waiting:
        kind = waiting.pop()
        waiting += kind.__subclasses__()
        yield kind


PAGES: dict[str, Callable[[], str]] = {"settings.md": settings_page, "errors.md": errors_page}


def _settings() -> Iterator[str]:
    """One table for each group; a comment in the class heads a group."""
    source = Path(settings.__file__).read_text()
    lines = source.splitlines()
    body = next(
        node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef) and node.name == "Settings"
    )
    rows: list[str] = []
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign):
            if heading := _heading(lines, statement.lineno):
                yield from _table(rows)
                rows = []
                yield f"## {heading}"
            rows.append(_row(statement, following))
    yield from _table(rows)


def _heading(lines: list[str], field_line: int) -> str:
    above = lines[field_line - 2].strip()
    text = re.split("[:;]", above.removeprefix("# "))[0] if above.startswith("# ") else ""
    return text[:1].upper() + text[1:]


def _table(rows: list[str]) -> Iterator[str]:
    if rows:
        yield "\n".join(["| setting | value | default | what it does |", "|---|---|---|---|", *rows])


def _row(field: ast.AnnAssign, following: ast.stmt | None) -> str:
    described = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
    text = " ".join(str(following.value.value).split()) if described else ""  # type: ignore[union-attr]
    text = text.replace("`data_dir`", f"`{settings.PREFIX}DATA_DIR`")
    name = ast.unparse(field.target)
    return f"| `{settings.PREFIX}{name.upper()}` | {_kind(field)} | {_default(name)} | {text} |"


def _kind(field: ast.AnnAssign) -> str:
    if isinstance(field.annotation, ast.Subscript):
        choices = ast.literal_eval(field.annotation.slice)
        return " or ".join(f"`{choice}`" for choice in (choices if isinstance(choices, tuple) else (choices,)))
    name = ast.unparse(field.annotation)
    return "secret" if name == "Secret" else _KINDS[name]


def _default(name: str) -> str:
    value = DEFAULTS[name]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{text}`" if value not in ("", Path()) else ""


def _page(title: str, *parts: str) -> str:
    note = "<!-- Made from the code by `make fix`; changes here are overwritten. -->"
    return "\n\n".join([f"# {title}", note, *parts]) + "\n"


def main(arguments: list[str]) -> int:
    stale = [name for name, page in PAGES.items() if _read(DOCS / name) != page()]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/{name} is out of date; `make fix` writes it anew")
        return 1 if stale else 0
    for name in stale:
        (DOCS / name).write_text(PAGES[name]())
    return 0


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
