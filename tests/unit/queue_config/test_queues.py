from queue_config import queues


def test_every_queue_has_a_group_that_serves_it_and_a_name_of_its_own() -> None:
    served = [*queues.of_group("images"), *queues.of_group("io")]
    assert sorted(queue.name for queue in served) == sorted(queues.BY_NAME)
    assert len(queues.BY_NAME) == len(queues.QUEUES)


def test_no_queue_of_slow_receivers_can_take_all_threads() -> None:
    for queue in (queues.WEBHOOKS, queues.WEBHOOKS_SLOW, queues.MAIL):
        assert 0 < queue.share < 1


def test_two_lanes_name_each_other_and_one_of_them_is_the_slow_one() -> None:
    common, slow = queues.lanes_of(queues.WEBHOOKS)
    assert queues.lanes_of(slow) == (slow, common)
    assert common.lane is not None
    assert slow.lane is not None
    assert (common.lane.slow, slow.lane.slow) == (False, True)
    assert common.lane.struggling == slow.lane.struggling
    assert slow.window < common.window


def test_short_reactions_go_before_deliveries_and_mail() -> None:
    assert queues.LIFECYCLE.priority < queues.WEBHOOKS.priority < queues.MAIL.priority
