"""The ledger in the hands of the tests of the domain."""

import pytest

from runtime.database import Database, SystemDatabase
from tests.integration.conftest import Organization
from tests.integration.domain.ledger import Ledger


@pytest.fixture
def ledger(database: Database, system: SystemDatabase, organization: Organization) -> Ledger:
    """Of an organization with a hundred credits."""
    return Ledger(database, system, organization.id)
