from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.settings import Secret, Settings
from runtime.telemetry import scrubbing
from runtime.telemetry.scrubbing import HIDDEN, Scrubber

CANARY = "C4n4ry-of-the-m1ne"


@pytest.mark.parametrize(
    "text",
    [
        f"key atl_{CANARY} was used",
        f"endpoint secret whsec_{CANARY}+/=",
        f"GET /?next=%2Fkeys%3Fk%3Datl_{CANARY}",
        f"connect to postgresql://atelier_app:{CANARY}@db:5432/atelier failed",
        f"redis://:{CANARY}@cache/0",
        f"amqp://guest:{CANARY}@with@at@host",
        f"Authorization: Bearer {CANARY}",
        f"authorization=Basic {CANARY}",
        f"sent bearer {CANARY} to the wrong place",
        f"(b'authorization', b'{CANARY}')",
        f'("X-Api-Key", "{CANARY}")',
        f"Cookie: theme=dark; session={CANARY}",
        f"Set-Cookie: session={CANARY}; Path=/",
        f"GET /files/x.png?expires=1&signature={CANARY}&v=2",
        f'{{"password": "{CANARY} with spaces", "name": "Ada"}}',
        f"{{'client_secret': '{CANARY}'}}",
        f"password={CANARY}",
        f"access_token: {CANARY}",
        f"OPERATOR_TOKEN={CANARY}",
    ],
)
def test_a_secret_in_a_text_is_hidden(text: str) -> None:
    assert CANARY not in Scrubber().text(text)


@pytest.mark.parametrize(
    "text",
    [
        "the basic plan has 100 credits",
        "GET /v1/generations?limit=20&cursor=abc 200",
        "http://127.0.0.1:8000/v1/events",
        "gen_01jd3wq8c5f0xv2m7t9k4hn6ra was queued for org_01jd3wq8c5f0xv2m7t9k4hn6ra",
        "mail to ada@example.com over smtp://127.0.0.1:2525",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Scrubber().text(text) == text


def test_what_surrounds_a_secret_stays_readable() -> None:
    scrubber = Scrubber()
    assert scrubber.text("redis://app:pw@host:1/0 is gone") == f"redis://app:{HIDDEN}@host:1/0 is gone"
    assert scrubber.text("GET /a?token=abc&size=2") == f"GET /a?token={HIDDEN}&size=2"


@pytest.mark.parametrize("name", ["authorization", "Set-Cookie", "api_key", "signing_secret", "new_password", "tokens"])
def test_a_field_with_a_secret_name_is_hidden_whatever_it_holds(name: str) -> None:
    assert Scrubber().fields({name: [CANARY], "inner": {name: 7}}) == {name: HIDDEN, "inner": {name: HIDDEN}}


def test_values_become_plain_data_that_any_encoder_takes() -> None:
    class Thing:
        def __str__(self) -> str:
            return f"thing with token={CANARY}"

    fields = {
        "path": Path("/a/b"),
        "error": ValueError(f"password={CANARY}"),
        "bytes": b"\xff\x00",
        "set": {1},
        "thing": Thing(),
        "deep": {"a": {"b": {"c": {"d": {"e": {"f": {"g": f"token={CANARY}"}}}}}}},
        3: None,
    }
    assert CANARY not in msgspec.json.encode(Scrubber().fields(fields)).decode()


def test_a_long_text_is_cut() -> None:
    assert len(Scrubber().text("a" * 1_000_000)) < 20_000


def test_the_secrets_of_the_settings_are_known_by_value() -> None:
    settings = Settings(
        operator_token=Secret("operator-tkn"),
        database_url=Secret("postgresql://atelier_app:p%40ssw0rd@db/atelier"),
        redis_url=Secret("redis://:redis-pass@cache"),
        encryption_keys=Secret("k1:bm90LXJlYWxseS1hLWtleQ==,k2:YW5vdGhlci1mYWtlLWtleQ=="),
    )
    scrubber = scrubbing.of_settings(settings)
    for secret in ("operator-tkn", "p%40ssw0rd", "p@ssw0rd", "redis-pass", "YW5vdGhlci1mYWtlLWtleQ=="):
        assert secret not in scrubber.text(f"a line about {secret}, bare")
    assert scrubber.text("k1 is the key in use") == "k1 is the key in use"


nested = st.recursive(
    st.one_of(st.none(), st.integers(), st.text(), st.binary(), st.text().map(lambda text: f"{text}{CANARY}{text}")),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.tuples(inner), st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(value=nested)
def test_a_known_secret_is_found_however_deep_it_lies(value: Any) -> None:
    assert CANARY not in msgspec.json.encode(Scrubber([CANARY]).value(value)).decode()
