"""Refusals about plans and credits."""

from domain.errors import Invalid, QuotaExceeded


class InsufficientCredits(QuotaExceeded):
    """There are not enough credits left for this."""

    code = "insufficient_credits"


class PlanUnknown(Invalid):
    """There is no such plan."""

    code = "plan_unknown"
