"""Refusals about organizations."""

from domain.errors import NotFound


class OrganizationNotFound(NotFound):
    """There is no such organization."""

    code = "organization_not_found"
