"""What is drawn, and what is made of what customers saw."""

from bench.deploys import mixed, report
from bench.deploys.load import Asked, Try

DONE, REFUSED, CUT = Try(200, ""), Try(503, ""), Try(0, "EOFError")


def test_each_blow_falls_within_ten_minutes_and_a_seed_draws_the_same_ones_again() -> None:
    drawn = list(mixed.plan(7, 600))
    assert {name for _, name in drawn} == set(mixed.BLOWS)
    assert list(mixed.plan(7, 600)) == drawn
    assert list(mixed.plan(8, 600)) != drawn


def test_a_request_that_succeeds_in_the_end_is_no_failure_but_its_tries_count() -> None:
    asked = [
        Asked("show", 0.0, 0.1, (DONE,)),
        Asked("post", 1.0, 0.5, (REFUSED, CUT, DONE)),
        Asked("list", 2.0, 3.0, (REFUSED,)),
        Asked("list", 2.0, 0.2, (DONE,)),
    ]
    seen = report.seen(asked)
    assert (seen.requests, seen.failed, seen.tries, seen.failed_tries) == (4, 1, 6, 3)
    assert (seen.availability, seen.errors) == (75.0, 50.0)
    assert (seen.longest, seen.seconds) == (3000.0, 5.0)
    assert report.failures(asked) == {"post: 503": 1, "post: EOFError": 1, "list: 503": 1}
