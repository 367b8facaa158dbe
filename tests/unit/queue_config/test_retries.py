from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_config import retries
from queue_config.retries import RetryPolicy


def test_waits_grow_as_the_policy_says() -> None:
    policy = RetryPolicy("plain", retries.STANDARD.delays, max_attempts=6, jitter=0)
    waits = [policy.next(attempts, "tsk_1") for attempts in range(1, 7)]
    assert waits == [*(timedelta(seconds=s) for s in (1, 5, 30, 120, 600)), None]


def test_the_last_delay_repeats_until_the_attempts_are_used_up() -> None:
    policy = RetryPolicy("plain", (timedelta(seconds=1), timedelta(seconds=9)), max_attempts=5, jitter=0)
    assert [policy.next(n, "tsk_1") for n in range(2, 6)] == [timedelta(seconds=9)] * 3 + [None]


@pytest.mark.parametrize("policy", retries.BY_NAME.values(), ids=lambda policy: policy.name)
def test_a_task_dies_after_as_many_tries_as_its_policy_allows(policy: RetryPolicy) -> None:
    assert all(policy.next(attempts, "tsk_1") for attempts in range(1, policy.max_attempts))
    assert policy.next(policy.max_attempts, "tsk_1") is None
    assert policy.next(policy.max_attempts + 5, "tsk_1") is None


@given(key=st.text(), attempts=st.integers(min_value=1, max_value=5))
def test_jitter_stays_within_its_bounds_and_answers_alike_everywhere(key: str, attempts: int) -> None:
    wait = retries.STANDARD.next(attempts, key)
    plain = retries.STANDARD.delays[attempts - 1]
    assert wait is not None
    assert plain * 0.8 <= wait <= plain * 1.2
    assert wait == retries.STANDARD.next(attempts, key)


def test_tasks_that_failed_together_do_not_come_back_together() -> None:
    waits = {retries.STANDARD.next(1, f"tsk_{n}") for n in range(100)}
    assert len(waits) == 100
    assert max(w for w in waits if w) - min(w for w in waits if w) > timedelta(milliseconds=300)
