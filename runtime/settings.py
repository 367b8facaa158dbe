"""Every setting of every process: one frozen Settings, read once, checked together."""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import msgspec
from dotenv import dotenv_values

PREFIX = "ATELIER_"
SMALLEST_PROCESS = 256 << 20


class SettingsError(Exception):
    """A setting is missing, malformed, or contradicts another. The text names it and says what to do."""


class Secret(str):
    """A string that `repr` does not show, so that a logged Settings gives nothing away."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Read from `ATELIER_…` in the environment, then from `.env`. Durations are seconds, sizes are bytes."""

    # where things are
    data_dir: Path = Path("var")
    """Where `atelier up` keeps its databases, images, mails, keys and the contract file."""
    host: str = "127.0.0.1"
    """The address that every server of ours listens on."""
    port: int = 8000
    """The API."""
    operator_port: int = 8001
    """The operator's API, pages and the API's metrics; never to be reached from outside."""
    metrics_port: int = 0
    """Port of a relay's or worker's metrics; 0 takes a free one."""
    public_url: str = ""
    """How customers reach the API; decides the host in asset addresses. Default: `http://host:port`."""
    operator_token: Secret = Secret("")
    """What the operator's API asks for. `atelier up` makes one."""

    # PostgreSQL: one address; the other two roles' addresses are derived from it unless they are given
    database_url: Secret = Secret("")
    """As `atelier_app`. Empty: `atelier up` starts its own server under `data_dir`."""
    database_system_url: Secret = Secret("")
    """As `atelier_system`, which relay and workers use for what touches several organizations."""
    database_owner_url: Secret = Secret("")
    """As `atelier_owner`, which owns the tables; only `atelier migrate` uses it."""
    database_admin_url: Secret = Secret("")
    """A role that may create roles; only `atelier migrate` uses it, the first time. Empty: the roles exist."""
    database_pool_size: int = 10
    """Connections that one process holds at most, for each role it uses."""
    database_patience: float = 30.0
    """How long a process waits for PostgreSQL as it starts, before it gives up with exit status 2."""
    slow_statement: float = 0.2
    """From how many seconds on a statement is logged and counted as slow."""

    # Redis, RabbitMQ and the queue
    broker: Literal["redis", "rabbitmq", "stub"] = "redis"
    """What carries messages to the workers; `stub` is for tests in one process. See `docs/brokers.md`."""
    redis_url: Secret = Secret("")
    """Empty: `atelier up` starts its own server under `data_dir`, unless messages travel over RabbitMQ."""
    rabbitmq_url: Secret = Secret("")
    """`amqp://user:password@host:port/virtual-host`, or `amqps://` with TLS, where the broker is `rabbitmq`."""

    # keys that protect customers' data; `atelier up` makes them once and keeps them in `data_dir`
    encryption_keys: Secret = Secret("")
    """`id:base64-of-32-bytes`, separated by commas; the first encrypts, all decrypt."""
    signing_keys: Secret = Secret("")
    """At least 32 characters each, separated by commas. The first signs the addresses of assets, all verify them."""

    # storage
    storage: Literal["local", "memory"] = "local"
    """Where images are kept; `memory` is for tests."""
    storage_dir: Path = Path()
    """Default: `storage` in `data_dir`."""
    asset_url_ttl: int = 3600
    """How long the addresses of images in the API's answers work."""
    sent_url_ttl: int = 7 * 86_400
    """How long those in webhooks and mails work, which may be read later."""

    # mail
    smtp_url: Secret = Secret("")
    """`smtp://[user:password@]host:port` (`smtps://` for TLS from the start, `?starttls=1`).
    Empty: `atelier up` runs a sink that writes files."""
    mail_from: str = "Atelier <no-reply@atelier.example>"
    """The sender of every mail."""
    mail_dir: Path = Path()
    """Where the embedded sink writes .eml files. Default: `mail` in `data_dir`."""

    # outbound HTTP
    outbound_allow: str = ""
    """Networks (CIDR, comma-separated) that webhooks and picture addresses may reach although they are private; one
    port of them where it is given, as in `10.0.0.7/32:8443`."""
    webhook_timeout: float = 15.0
    """How long one delivery may take, from connecting to the end of the answer."""
    webhook_insecure_http: bool = False
    """Accept `http://` endpoints; for development."""

    # work
    lease_seconds: float = 10.0
    """How long a worker that is frozen or cut off keeps a task; a killed one is noticed in a second."""
    dispatched_timeout: float = 5.0
    """After how long a message that no worker took up is sent again."""
    backlog_seconds: float = 120.0
    """New images are refused with 503 while one waits for so long for its organization's next turn. 0: never."""
    organization_backlog_seconds: float = 600.0
    """An organization's new images are refused with 429 while its oldest one waits for so long. 0: never."""
    relay_sweep: float = 0.2
    """How often the relay looks for work when no nudge comes."""
    task_retention_days: int = 7
    """How long ended tasks are kept (the trail of a generation shows them)."""
    idempotency_retention_hours: int = 72
    """How long the answer to an Idempotency-Key is kept, to be given again."""
    delivery_retention_days: int = 30
    """How long deliveries that have ended are kept. 0: for ever."""
    attempt_retention_days: int = 30
    """How long attempts at deliveries, with what receivers answered, are kept: at most as long as the delivery. 0: as
    long as that."""
    notification_retention_days: int = 30
    """How long mails that were sent or refused are kept. 0: for ever."""
    leftover_retention_days: int = 7
    """How long objects in the store that nothing refers to are left there. 0: for ever."""
    event_retention_days: int = 90
    """How long events are kept, in `GET /v1/events` and for `Last-Event-ID`. 0: for ever."""
    image_workers: int = 0
    """Processes that draw and store images, in one worker process; 0 takes three for each two cores, because one that
    stores waits for the disk."""
    io_threads: int = 8
    """Threads for libraries that block (storage drivers), in one process."""
    shutdown_timeout: float = 10.0
    """How long a process may finish what it is doing after SIGTERM."""
    hang_seconds: float = 30.0
    """A process of which a part (an event loop) has stood still for so long ends, to be started anew. 0: never."""
    memory_limit: int = 1 << 30
    """A process that holds more than so many bytes finishes what it does and ends, to be started anew. 0: never."""
    drain_seconds: float = 0.0
    """How long the API goes on taking connections after SIGTERM while `/health/ready` answers 503, so that a load
    balancer sees it first. 0 where nothing looks, or where a successor listens on the same socket."""
    fonts_dir: Path = Path()
    """A folder with further font packs (CJK, colour emoji); each file becomes part of an image's identity."""

    # telemetry
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least level that is written."""
    log_format: Literal["json", "console"] = "json"
    """`console` is for people."""
    otlp_endpoint: str = ""
    """OpenTelemetry collector (OTLP over HTTP), for example `http://127.0.0.1:4318`. Empty: nothing is exported."""
    failpoints: str = ""
    """For tests: `name=kill@2,other=raise` (see `runtime/failpoints.py`)."""
    failpoints_dir: Path = Path()
    """For tests: a folder in which failpoints of running processes are armed."""

    def __post_init__(self) -> None:
        if self.port and self.port == self.operator_port:
            raise SettingsError("ATELIER_PORT and ATELIER_OPERATOR_PORT are the same port; give them different ones")
        if self.lease_seconds < 2:
            raise SettingsError("ATELIER_LEASE_SECONDS must be at least 2, or leases end before they are renewed")
        if self.signing_keys and min(len(key.strip()) for key in self.signing_keys.split(",")) < 32:
            raise SettingsError("ATELIER_SIGNING_KEYS: one of them is too short; give at least 32 characters")
        if self.rabbitmq_url and not self.rabbitmq_url.startswith(("amqp://", "amqps://")):
            raise SettingsError("ATELIER_RABBITMQ_URL must begin with amqp:// or amqps://")
        if 0 < self.memory_limit < SMALLEST_PROCESS:
            raise SettingsError(
                f"ATELIER_MEMORY_LIMIT must be 0 or at least {SMALLEST_PROCESS}: a process needs that much"
            )
        if 0 < self.hang_seconds < 2:
            raise SettingsError("ATELIER_HANG_SECONDS must be 0 or at least 2, or what is only slow is ended")
        defaults: dict[str, Any] = {
            "public_url": self.public_url.rstrip("/") or f"http://{self.host}:{self.port}",
            "storage_dir": _or(self.storage_dir, self.data_dir / "storage"),
            "mail_dir": _or(self.mail_dir, self.data_dir / "mail"),
            "image_workers": self.image_workers or math.ceil(1.5 * (os.cpu_count() or 1)),
            "database_system_url": self.database_system_url or as_role(self.database_url, "atelier_system"),
            "database_owner_url": self.database_owner_url or as_role(self.database_url, "atelier_owner"),
        }
        for name, value in defaults.items():
            msgspec.structs.force_setattr(self, name, value)


def load(environment: Mapping[str, str] | None = None, env_file: Path = Path(".env"), **overrides: object) -> Settings:
    """Raises SettingsError with the name of the setting that doesn't fit."""
    source = os.environ if environment is None else environment
    given = {**dotenv_values(env_file), **source}
    values: dict[str, object] = {
        name.removeprefix(PREFIX).lower(): value
        for name, value in given.items()
        if name.startswith(PREFIX) and value not in (None, "")
    }
    known = set(Settings.__struct_fields__)
    if unknown := sorted(set(values) - known):
        raise SettingsError(f"{PREFIX}{unknown[0].upper()} is not a setting; `atelier --help` lists them")
    try:
        return msgspec.convert(values | overrides, Settings, strict=False, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise SettingsError(_readable(error)) from None


def require(settings: Settings, *names: str) -> None:
    """Raises SettingsError with the first of these settings that is empty."""
    for name in names:
        if not getattr(settings, name):
            raise SettingsError(f"{PREFIX}{name.upper()} is missing: see docs/settings.md, or run `atelier up` instead")


def _decode(kind: type, value: object) -> object:
    return kind(value)


def _readable(error: msgspec.ValidationError) -> str:
    text, _, path = str(error).partition(" - at `$.")
    return f"{PREFIX}{path.rstrip('`').upper()}: {text}" if path else str(error)


def _or(path: Path, default: Path) -> Path:
    return path if path != Path() else default


def as_role(url: str, role: str) -> Secret:
    """The same database for another role: the user is replaced, a password is kept."""
    if not url:
        return Secret("")
    parts = urlsplit(url)
    credentials, at, where = parts.netloc.rpartition("@")
    password = credentials.partition(":")[2]
    user = f"{role}:{password}" if password else role
    return Secret(urlunsplit(parts._replace(netloc=f"{user}@{where if at else parts.netloc}")))
