"""The doctor beside a running installation."""

import msgspec

from tests.e2e.running import Command, Up


def test_a_running_installation_is_healthy_as_seen_from_beside_it(up: Up, tmp_path):
    asked = Command(tmp_path, "doctor", "--json", data_dir=str(up.data))
    assert asked.wait() == 0, asked.output
    report = msgspec.json.decode(asked.output)
    assert report["healthy"], report
    good = {each["part"] for each in report["findings"] if each["state"] == "good"}
    assert {"installation", "API", "operators' port", "metrics", "PostgreSQL", "relay", "Redis", "storage"} <= good


def test_its_dead_letters_are_asked_for_from_beside_it(up: Up, tmp_path):
    asked = Command(tmp_path, "dead-letters", "list", "--json", data_dir=str(up.data))
    assert asked.wait() == 0, asked.output
    assert set(msgspec.json.decode(asked.output)) == {"dead_letters", "set_aside_events"}
