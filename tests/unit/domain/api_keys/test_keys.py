"""The look of a key."""

import pytest

from domain.api_keys import keys


@pytest.mark.parametrize("environment", ["live", "test"])
def test_a_generated_key_is_well_formed(environment):
    key = keys.generate(environment)
    assert key.startswith(f"atl_{environment}_")
    assert keys.is_well_formed(key)


def test_a_key_with_one_letter_changed_is_not():
    key = keys.generate("live")
    other = "0" if key[12] != "0" else "1"
    assert not keys.is_well_formed(key[:12] + other + key[13:])


def test_a_key_of_another_environment_is_not_made_by_renaming_it():
    assert not keys.is_well_formed(keys.generate("test").replace("atl_test_", "atl_live_"))


@pytest.mark.parametrize(
    "text", ["", "atl_live_", "sk_live_123", "atl_live_" + "u" * 39, "atl_live_" + "0" * 39 + "\n"]
)
def test_something_else_is_not(text):
    assert not keys.is_well_formed(text)


def test_two_keys_are_never_alike():
    assert len({keys.generate("live") for _ in range(100)}) == 100
