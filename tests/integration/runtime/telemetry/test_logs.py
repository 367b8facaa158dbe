import json
import subprocess
import sys

SCRIPT = """
import warnings
from runtime.settings import Secret, Settings
from runtime.telemetry import logs
logs.configure(Settings(operator_token=Secret("C4n4ry-of-the-m1ne")), "script")
warnings.warn("an old habit", stacklevel=1)
raise SystemError("it ends here, C4n4ry-of-the-m1ne")
"""


def test_a_process_that_dies_says_why_in_json_and_gives_no_secret_away() -> None:
    ended = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    warning, death = (json.loads(line) for line in ended.stderr.splitlines())
    assert warning["source"] == "py.warnings"
    assert "an old habit" in warning["message"]
    assert death["level"] == "critical"
    assert "SystemError: it ends here" in death["exception"]
    assert "C4n4ry" not in ended.stderr
