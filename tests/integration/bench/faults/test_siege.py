"""Harm without end: what is drawn, and when it is enough."""

from collections import Counter

from bench.faults.siege import Goals, Spells, seen


def test_the_same_seed_draws_the_same_spells() -> None:
    first, again = (Spells(7, "redis", ()) for _ in range(2))
    assert [first.heavy() for _ in range(20)] == [again.heavy() for _ in range(20)]
    assert first.heavy() != Spells(8, "redis", ()).heavy()


def test_a_heavy_spell_wipes_the_broker_and_loses_commits() -> None:
    blows, kills = Spells(7, "rabbitmq", ()).heavy()
    assert {"flush rabbitmq", "lose api", "lose claims"} <= {blow.name for blow in blows}
    assert {case.action for case in kills} == {"kill"}


def test_a_light_spell_does_less() -> None:
    spells = Spells(7, "redis", ())
    heavy, light = spells.heavy(), spells.light()
    assert len(light[0]) < len(heavy[0])
    assert len(light[1]) < len(heavy[1])


def test_every_failpoint_has_its_turn() -> None:
    spells = Spells(7, "redis", ())
    killed = [case for _ in range(12) for case in spells.heavy()[1]]
    assert max(Counter(killed).values()) <= 2
    assert len(set(killed)) > 50


def test_what_is_lacking_is_named() -> None:
    blows = Counter(
        {"kill api": 2, "kill at a failpoint": 3, "poison": 1, "flush redis": 1, "lost commit api": 4, "stop": 9}
    )
    now = seen(10, blows)
    assert (now.kills, now.flushes, now.ambiguous) == (6, 1, 4)
    assert now.lacking(Goals(jobs=10, kills=7, flushes=1, ambiguous=5)) == ["kills", "ambiguous"]
