"""Entity tags."""

import pytest

from api import etags


def test_equal_values_have_equal_tags_and_others_have_others():
    assert etags.weak(["a", 1]) == etags.weak(["a", 1]) != etags.weak(["a", 2])


@pytest.mark.parametrize("header", ["*", 'W/"a"', '"a"', '"x", W/"a"', ' "a" '])
def test_a_tag_is_found_among_others_and_compared_weakly(header):
    assert etags.matches(header, 'W/"a"')


@pytest.mark.parametrize("header", [None, "", "a", '"b"', 'W/"ab"'])
def test_another_tag_does_not_match(header):
    assert not etags.matches(header, 'W/"a"')
