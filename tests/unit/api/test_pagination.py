"""Cursors."""

import pytest

from api import pagination
from api.errors import CursorInvalid
from domain.pages import Page, PageRequest


def test_a_cursor_leads_to_what_comes_after_its_page():
    listing = pagination.listing(Page(["a"], "gen_1"), "generations", {"status": "failed"})
    assert listing.next_cursor
    assert pagination.wanted(listing.next_cursor, 5, "generations", {"status": "failed"}) == PageRequest(5, "gen_1")


def test_the_last_page_has_no_cursor():
    assert pagination.listing(Page(["a"], None), "generations").next_cursor is None


def test_a_cursor_of_other_filters_or_of_another_list_is_refused():
    cursor = pagination.listing(Page(["a"], "gen_1"), "generations", {"status": "failed"}).next_cursor
    for filters in [("generations", {"status": None}), ("deliveries", {"status": "failed"}), ()]:
        with pytest.raises(CursorInvalid):
            pagination.wanted(cursor, 5, *filters)


@pytest.mark.parametrize("cursor", ["", "x", "????", "W10", "é", "e30", "WyJhIl0", "a" * 3000])
def test_what_we_did_not_make_is_refused(cursor):
    with pytest.raises(CursorInvalid):
        pagination.wanted(cursor, 5)
