"""Alerts and dashboard speak of metrics that there are, by labels that they have; each alert is explained."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.architecture.source import ROOT

PROMETHEUS: dict[str, Any] = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())
RULES: list[dict[str, Any]] = [
    rule
    for name in PROMETHEUS["rule_files"]
    for group in yaml.safe_load((ROOT / "deploy" / name).read_text())["groups"]
    for rule in group["rules"]
]
OF_THE_SCRAPE = {"job", "instance", "le"}

_METRIC = re.compile(r"\b(atelier_\w+)(?:\{([^}]*)\})?")
_GROUPING = re.compile(r"\b(?:by|on|without)\s*\(([^)]*)\)")
_RANGE = re.compile(r"\b(?:rate|increase)\(\s*atelier_\w+(?:\{[^}]*\})?\[\d+[smh]\]\)")


def documented() -> dict[str, set[str]]:
    """Metrics with their labels, by the tables of docs/telemetry.md; a histogram is three."""
    found: dict[str, set[str]] = {}
    for line in (ROOT / "docs/telemetry.md").read_text().splitlines():
        if not line.startswith("| `atelier_"):
            continue
        _, *cells, _ = re.split(r"\s*\|\s*", line)
        for name in re.findall(r"`(atelier_\w+)`", cells[0]):
            labels = set(re.findall(r"`(\w+)`", cells[2])) | OF_THE_SCRAPE
            endings = ("_bucket", "_sum", "_count") if cells[1] == "histogram" else ("",)
            found |= {name + ending: labels for ending in endings}
    return found


def complaints(expression: str, known: dict[str, set[str]]) -> Iterator[str]:
    """`$__rate_interval` is Grafana's."""
    expression = expression.replace("$__rate_interval", "5m")
    if any(expression.count(opening) != expression.count(closing) for opening, closing in ("()", "{}", "[]")):
        yield "brackets do not match"
    labels = set(OF_THE_SCRAPE)
    for name, matchers in _METRIC.findall(expression):
        if name not in known:
            yield f"there is no metric {name}"
            continue
        labels |= known[name]
        yield from (
            f"{name} has no label {each}" for each in re.findall(r"(\w+)\s*[=!]", matchers) if each not in known[name]
        )
        if name.endswith(("_total", "_bucket", "_sum", "_count")) and not re.search(
            rf"(?:rate|increase)\(\s*{name}", expression
        ):
            yield f"{name} only grows: say over which time"
    for group in _GROUPING.findall(expression):
        yield from (f"nothing here has a label {each}" for each in re.findall(r"\w+", group) if each not in labels)
    if len(re.findall(r"\b(?:rate|increase)\(", expression)) != len(_RANGE.findall(expression)):
        yield "a rate needs a time"


def panels() -> list[dict[str, Any]]:
    return [panel for panel in json.loads((ROOT / "deploy/grafana.json").read_text())["panels"] if "targets" in panel]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_speaks_of_what_there_is(rule):
    assert list(complaints(rule["expr"], documented())) == []
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"\d+[smh]", rule.get("for", "1m"))
    assert rule["labels"]["severity"] in {"page", "ticket"}
    labels = re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])
    assert [label for label in labels if label not in rule["expr"] and label not in OF_THE_SCRAPE] == []


def test_alerts_and_their_explanations_are_the_same():
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names)
    manual = (ROOT / "docs/operating.md").read_text().split("\n## Alerts\n")[1]
    assert re.findall(r"^### (\w+)$", manual, re.MULTILINE) == names


def test_each_job_that_an_alert_names_is_scraped():
    jobs = {job["job_name"] for job in PROMETHEUS["scrape_configs"]}
    named = {
        job for rule in RULES for value in re.findall(r'job=~?"([^"]*)"', rule["expr"]) for job in value.split("|")
    }
    assert named == jobs - {"prometheus"}


def test_prometheus_is_given_the_files_that_it_names():
    volumes = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["prometheus"]["volumes"]
    for name in ("prometheus.yml", *PROMETHEUS["rule_files"]):
        assert f"./deploy/{name}:/etc/prometheus/{name}:ro" in volumes


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_of_the_dashboard_speaks_of_what_there_is(panel):
    for target in panel["targets"]:
        assert list(complaints(target["expr"], documented())) == []


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("atelier_moons > 0", "there is no metric atelier_moons"),
        ("atelier_tasks_total{queue='x'}", "there is no metric atelier_tasks_total"),
        ('atelier_dead_letters{colour="red"} > 0', "atelier_dead_letters has no label colour"),
        ("sum by (colour) (atelier_dead_letters) > 0", "nothing here has a label colour"),
        ("atelier_events_expanded_total > 0", "atelier_events_expanded_total only grows: say over which time"),
        ("rate(atelier_events_expanded_total) > 0", "a rate needs a time"),
        ("sum(atelier_dead_letters > 0", "brackets do not match"),
    ],
)
def test_what_is_wrong_is_named(expression, said):
    assert said in list(complaints(expression, documented()))
