"""What the API shows of its requests. Routes are templates (`/v1/generations/{id}`), never addresses."""

import functools

from prometheus_client import Counter, Histogram

from runtime.telemetry import metrics

requests = metrics.counter("atelier_http_requests_total", "Requests answered", ["route", "method", "status"])
seconds = metrics.histogram("atelier_http_request_seconds", "Time to the first byte of the answer", ["route", "method"])
problems = metrics.counter("atelier_http_problems_total", "Answers that were problems", ["code"])


METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def observe(route: str, method: str, status: int, duration: float) -> None:
    """Status 0: the client went away before there was an answer."""
    counted, timed = _children(route, method if method in METHODS else "(other)", status)
    counted.inc()
    timed.observe(duration)


@functools.lru_cache(2048)
def _children(route: str, method: str, status: int) -> tuple[Counter, Histogram]:
    """Looking a label up costs more than counting."""
    return requests.labels(route, method, str(status)), seconds.labels(route, method)
