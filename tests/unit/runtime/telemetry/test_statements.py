import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.telemetry.statements import fingerprint


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select 1", "select 22"),
        ("select a from t where b = 'x'", "SELECT a\n  FROM t -- the table\n WHERE b = 'it''s another'"),
        ("select $1 in ($2, $3)", "select $1 in ($2, $3, $4, $5)"),
        ("select a in ($1::VARCHAR, $2::VARCHAR)", "select a in ($1::VARCHAR, $2::VARCHAR, $3::VARCHAR)"),
        ("insert into t values ($1, $2)", "insert into t values ($1, $2), ($3, $4), ($5, $6)"),
        ("select 1.5 /* first */", "select 2.25 /* second */"),
    ],
)
def test_statements_of_one_shape_have_one_fingerprint(one: str, other: str) -> None:
    assert fingerprint(one)[0] == fingerprint(other)[0]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("select a from t", "select b from t"),
        ("select $1", "select $2"),
        ('select "a" from t', 'select "b" from t'),
        ("select t1.a from t1", "select t2.a from t2"),
    ],
)
def test_statements_of_two_shapes_have_two(one: str, other: str) -> None:
    assert fingerprint(one)[0] != fingerprint(other)[0]


@pytest.mark.parametrize(
    "statement",
    [
        "select 'canary'",
        "select 'it''s', 'canary'",
        r"select 'ends with \', 'canary'",
        r"select E'it\'s', 'canary'",
        "select $$canary$$",
        "select $body$ it's the 'canary' $body$",
        """select "it's", 'canary'""",
        "select 1 -- canary\n",
        "select /* it's the canary */ 1",
    ],
)
def test_no_value_written_into_a_statement_is_shown(statement: str) -> None:
    assert "canary" not in fingerprint(statement)[1]


def test_a_long_statement_is_shortened() -> None:
    mark, text = fingerprint("select " + ", ".join(f"column_{n}" for n in range(1000)))
    assert len(text) < 310
    assert mark != fingerprint("select " + ", ".join(f"column_{n}" for n in range(999)))[0]


@given(statement=st.text())
def test_no_text_is_too_strange(statement: str) -> None:
    mark, _ = fingerprint(statement)
    assert len(mark) == 12
