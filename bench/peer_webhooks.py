"""How many webhooks a second one Celery process sends with requests: run by the peers' interpreter, in their folder,
with their own program. Standard library only. Prints one number.
"""

import importlib
import sys

NUMBER = 1_500


def main() -> None:
    sys.path.insert(0, ".")
    services, webhook = importlib.import_module("services"), importlib.import_module("bench_webhook")
    port = services.free_port()
    with services.Services(redis=True) as running:
        running.spawn([sys.executable, "receiver.py", "--port", str(port)], "receiver.log")
        services.wait_port(port)
        case = ("q_webhook_celery", "prefork", "requests")
        print(webhook.queued(case, NUMBER, running, f"http://127.0.0.1:{port}")[0])


if __name__ == "__main__":
    main()
