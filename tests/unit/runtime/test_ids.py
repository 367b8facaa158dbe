import itertools
import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from runtime import ids


def decode(suffix: str) -> int:
    number = 0
    for letter in suffix:
        number = number * 32 + ids.ALPHABET.index(letter)
    return number


def test_an_id_tells_its_kind_and_is_well_formed():
    made = ids.new("gen")
    assert made.startswith("gen_")
    assert len(made) == len("gen_") + ids.SUFFIX_LENGTH
    assert ids.is_id("gen", made)


def test_an_id_is_a_uuid_of_version_7():
    number = uuid.UUID(int=decode(ids.new("org").removeprefix("org_")))
    assert (number.version, number.variant) == (7, uuid.RFC_4122)


def test_ids_of_one_process_sort_in_the_order_they_were_made():
    made = [ids.new("evt") for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == len(made)
    assert all(len(one) == len(other) for one, other in itertools.pairwise(made))


def test_the_earliest_id_of_a_moment_parts_what_was_made_before_from_what_comes_after():
    before, bound = ids.new("evt"), ids.earliest("evt", datetime.now(UTC) + timedelta(seconds=1))
    assert ids.is_id("evt", bound)
    assert before < bound < ids.earliest("evt", datetime.now(UTC) + timedelta(seconds=2))
    assert ids.earliest("evt", datetime.now(UTC) - timedelta(seconds=1)) < before


def test_an_id_says_when_it_was_made():
    before = datetime.now(UTC)
    made = ids.made_at(ids.new("evt"))
    assert before - timedelta(milliseconds=1) <= made <= datetime.now(UTC)
    assert ids.made_at(ids.earliest("evt", made)) == made


def test_an_id_of_another_kind_is_not_one_of_this():
    assert not ids.is_id("org", ids.new("gen"))


@given(st.text(max_size=40))
def test_free_text_is_not_taken_for_an_id(text):
    assert not ids.is_id("gen", text) or text.startswith("gen_")


def test_letters_that_crockford_leaves_out_and_wrong_lengths_are_refused():
    good = ids.new("gen")
    assert not ids.is_id("gen", good[:-1])
    assert not ids.is_id("gen", good + "0")
    assert not ids.is_id("gen", good.upper())
    assert all(not ids.is_id("gen", good[:-1] + letter) for letter in "ilou")


def test_the_reserved_organization_is_not_a_made_id():
    assert not ids.is_id("org", ids.SYSTEM_ORGANIZATION)
