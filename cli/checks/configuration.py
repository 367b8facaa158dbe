"""The settings themselves, and what they let customers reach."""

from typing import Final
from urllib.parse import urlsplit

from cli.checks.finding import Finding, Subject, bad, good, note
from runtime import encryption, outbound
from runtime.outbound import AddressRefusedError

PART: Final = "settings"
OUTBOUND: Final = "outbound"
LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
METADATA: Final = ("169.254.169.254", 80)
"""Where clouds hand out a machine's credentials."""


async def settings(subject: Subject) -> list[Finding]:
    given = subject.settings
    if subject.running is not None or not given.database_url:
        return [good(PART, f"`atelier up` makes the keys and keeps them in {given.data_dir}")]
    missing = [name for name in ("encryption_keys", "signing_keys", "operator_token") if not getattr(given, name)]
    found = [bad(PART, f"ATELIER_{name.upper()} is missing", "`deploy/make-env` draws all keys") for name in missing]
    if given.encryption_keys:
        try:
            encryption.Keyring.from_setting(given.encryption_keys)
        except encryption.KeyringError as error:
            advice = "write id:base64-of-32-bytes, separated by commas"
            found.append(bad(PART, f"ATELIER_ENCRYPTION_KEYS: {error}", advice))
    if urlsplit(given.public_url).hostname in LOOPBACK:
        found.append(note(PART, f"images are served under {given.public_url}", "set ATELIER_PUBLIC_URL"))
    return found or [good(PART, "the keys that protect customers' data are there")]


async def outbound_policy(subject: Subject) -> list[Finding]:
    given = subject.settings
    policy = outbound.policy(given)
    allowed = f"the public Internet and {given.outbound_allow}" if given.outbound_allow else "the public Internet alone"
    try:
        policy.check_address(*METADATA)
    except AddressRefusedError:
        found = [good(OUTBOUND, f"webhooks and pictures reach {allowed}")]
    else:
        text = "customers can reach the machine's own credentials (169.254.169.254)"
        found = [bad(OUTBOUND, text, "take that network out of ATELIER_OUTBOUND_ALLOW")]
    if given.webhook_insecure_http and subject.running is None:
        found.append(note(OUTBOUND, "webhooks may go over http://", "unset ATELIER_WEBHOOK_INSECURE_HTTP"))
    return found
