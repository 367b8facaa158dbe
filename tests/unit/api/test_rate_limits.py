"""Token buckets."""

from api import rate_limits
from api.rate_limits import RateLimits


def test_a_key_may_spend_its_window_at_once_and_then_waits():
    now = [100.0]
    limits = RateLimits(lambda: now[0])
    verdicts = [limits.take("key_a", "free") for _ in range(3000)]
    assert all(verdict.allowed for verdict in verdicts)
    assert [verdicts[0].remaining, verdicts[-1].remaining] == [2999, 0]
    refused = limits.take("key_a", "free")
    assert (refused.allowed, refused.wait) == (False, 1)
    assert limits.take("key_b", "free").allowed
    now[0] += 0.03  # more than one token, less than two
    assert limits.take("key_a", "free").allowed
    assert not limits.take("key_a", "free").allowed


def test_the_headers_say_what_is_left_and_when_the_bucket_is_full_again():
    limits = RateLimits()
    for _ in range(100):
        verdict = limits.take("key_a", "free")
    assert verdict.headers() == [
        (b"ratelimit-policy", b'"default";q=3000;w=60'),
        (b"ratelimit", b'"default";r=2900;t=2'),
    ]


def test_a_higher_plan_has_a_larger_bucket():
    limits = RateLimits()
    assert limits.take("a", "scale").limit > limits.take("b", "pro").limit > limits.take("c", "free").limit


def test_buckets_that_are_full_again_are_not_kept(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(rate_limits, "MOST_BUCKETS", 10)
    limits = RateLimits(lambda: now[0])
    for number in range(10):
        limits.take(f"old_{number}", "free")
    now[0] += rate_limits.WINDOW
    limits.take("new", "free")
    assert list(limits._buckets) == ["new"]
