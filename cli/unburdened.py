"""Keeps libraries from loading what they find and nothing here uses. Litestar takes pydantic, structlog takes rich,
14 MiB together: an environment for development has both, one for production neither. redis-py takes
OpenTelemetry's metrics, 3 MiB. To be imported before those.
"""

import sys
from typing import Final

UNUSED: Final = ("pydantic", "rich", "opentelemetry.sdk.metrics")

for module in UNUSED:
    sys.modules.setdefault(module, None)  # type: ignore[arg-type]  # so that an import of it fails
