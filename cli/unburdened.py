"""Keeps two libraries from loading what they find and nothing here uses: Litestar takes pydantic, structlog takes rich,
14 MiB together. An environment for development has both, one for production neither. To be imported before those.
"""

import sys
from typing import Final

UNUSED: Final = ("pydantic", "rich")

for package in UNUSED:
    sys.modules.setdefault(package, None)  # type: ignore[arg-type]  # so that an import of it fails
