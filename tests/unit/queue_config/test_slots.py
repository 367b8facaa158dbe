"""How many messages of a queue a worker holds at once."""

from queue_config.slots import Slots


def taken(slots: Slots) -> int:
    """Takes all that are free."""
    count = 0
    while slots.acquire(timeout=0):
        count += 1
    return count


def deal_with(slots: Slots, count: int, seconds: float) -> None:
    """So many messages one after the other, with all slots taken all the time."""
    taken(slots)
    for _ in range(count):
        slots.release(held=seconds)
        taken(slots)


def test_without_a_bound_in_time_there_are_always_as_many_as_may_be() -> None:
    slots = Slots(2, 8)
    assert taken(slots) == 8
    slots.release(held=60)
    assert taken(slots) == 1


def test_quick_messages_let_it_hold_more_up_to_its_bound() -> None:
    slots = Slots(2, 8, seconds=0.1)
    assert slots.size == 2
    deal_with(slots, 3, seconds=0.01)
    assert slots.size == 5
    deal_with(slots, 100, seconds=0.01)
    assert slots.size == 8


def test_slow_messages_make_it_hold_fewer_down_to_its_bound() -> None:
    slots = Slots(2, 8, seconds=0.1)
    deal_with(slots, 100, seconds=0.01)
    deal_with(slots, 2, seconds=5)
    assert slots.size == 6
    deal_with(slots, 100, seconds=5)
    assert slots.size == 2


def test_while_some_slots_are_free_there_is_no_need_for_more() -> None:
    slots = Slots(2, 8, seconds=0.1)
    for _ in range(100):
        assert slots.acquire(timeout=0)
        slots.release(held=0.01)
    assert slots.size == 2


def test_while_messages_are_quick_there_are_a_few_more_for_those_that_go_ahead() -> None:
    slots = Slots(2, 8, seconds=0.1, beyond=2)
    assert taken(slots) == 2
    slots.release(held=0.01)
    assert [slots.acquire(timeout=0) for _ in range(5)] == ["any", "any", "ahead", "ahead", None]
    slots.release(held=5)
    assert slots.size == 2
    assert slots.acquire(timeout=0) is None


def test_a_message_that_was_not_begun_says_nothing_of_how_long_they_take() -> None:
    slots = Slots(2, 8, seconds=0.1)
    taken(slots)
    slots.release()
    assert (slots.size, taken(slots)) == (2, 1)


def test_whoever_waits_gets_the_slot_that_is_left() -> None:
    slots = Slots(1, 1)
    assert slots.acquire(timeout=0)
    assert not slots.acquire(timeout=0.01)
    slots.release()
    assert slots.acquire(timeout=0)
