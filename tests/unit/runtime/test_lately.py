"""Who was here a moment ago."""

from runtime.lately import Lately


def come(lately: Lately, who: str) -> bool:
    """Whether it was here lately."""
    known = who in lately
    lately.note(who)
    return known


def test_whoever_comes_again_soon_was_here_lately() -> None:
    now = [100.0]
    lately = Lately(1, lambda: now[0])
    assert not come(lately, "a")
    now[0] += 0.9
    assert come(lately, "a")
    assert not come(lately, "b")
    now[0] += 0.9
    assert come(lately, "b")


def test_whoever_was_away_for_twice_as_long_was_not() -> None:
    now = [100.0]
    lately = Lately(1, lambda: now[0])
    for _ in range(3):
        assert not come(lately, "a")
        now[0] += 2


def test_those_who_come_no_more_are_forgotten_though_others_come_all_the_time() -> None:
    now = [100.0]
    lately = Lately(1, lambda: now[0])
    lately.note("a")
    for _ in range(25):
        now[0] += 0.1
        lately.note("b")
    assert come(lately, "b")
    assert not come(lately, "a")
