"""Redis, RabbitMQ, the store, the mail server, and the processes and ports of an installation on this machine."""

import asyncio
import os
import shutil
from collections.abc import Iterable
from typing import Final

import aiohttp
import redis.asyncio

from cli.checks.finding import Finding, Subject, bad, good, note
from cli.contract import Contract
from domain.notifications.channels.email import EmailChannel
from domain.notifications.errors import ChannelError
from queue_config.rabbitmq_broker import RabbitmqBroker
from runtime.embedded import redis as embedded_redis
from runtime.settings import Settings
from storage.factory import build_store

TIMEOUT: Final = 5.0
LEAST_SPACE: Final = 1024**3
LEAST_RABBITMQ: Final = (3, 10)
"""Whose quorum queues let messages expire."""


async def queue(subject: Subject) -> list[Finding]:
    settings = subject.settings
    if not settings.redis_url:
        if settings.database_url:
            return [bad("Redis", "ATELIER_REDIS_URL is missing: messages travel over Redis", "set it")]
        await asyncio.to_thread(embedded_redis.find_program)
        return [good("Redis", "is on this machine; `atelier up` starts it")]
    async with redis.asyncio.Redis.from_url(settings.redis_url, socket_timeout=TIMEOUT, retry=None) as client:
        await client.ping()
        version = (await client.info("server"))["redis_version"]
    return [good("Redis", f"{version} answers")]


async def rabbitmq(subject: Subject) -> list[Finding]:
    broker = RabbitmqBroker(subject.settings.rabbitmq_url, ())
    try:
        version = await asyncio.to_thread(broker.server_version)
    finally:
        await asyncio.to_thread(broker.close)
    if version < LEAST_RABBITMQ:
        return [bad("RabbitMQ", f"{_dotted(version)} answers", f"install {_dotted(LEAST_RABBITMQ)} or newer")]
    return [good("RabbitMQ", f"{_dotted(version)} answers")]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


async def store(subject: Subject) -> list[Finding]:
    settings = subject.settings
    if settings.storage == "memory":
        return [note("storage", "images are kept in memory, until the process ends", "unset ATELIER_STORAGE")]
    if not (settings.database_url or settings.storage_dir.exists()):
        return [good("storage", f"`atelier up` makes {settings.storage_dir}")]
    await build_store(settings).check()
    free = (await asyncio.to_thread(shutil.disk_usage, settings.storage_dir)).free
    says = f"{settings.storage_dir} can be written, {free / 1024**3:.1f} GiB are free"
    return [good("storage", says) if free > LEAST_SPACE else note("storage", says, "make room")]


async def mail(subject: Subject) -> list[Finding]:
    settings = subject.settings
    if settings.smtp_url:
        try:
            await EmailChannel(settings.smtp_url, timeout=TIMEOUT).check()
        except ChannelError as error:
            return [bad("mail", str(error), "correct ATELIER_SMTP_URL, or ask who runs that server")]
        return [good("mail", f"the server takes mail from {settings.mail_from}")]
    if subject.running is not None or not settings.database_url:
        return [good("mail", f"`atelier up` writes mails into {settings.mail_dir}")]
    return [bad("mail", "no mail can be sent", "set ATELIER_SMTP_URL")]


async def installation(subject: Subject) -> list[Finding]:
    """What the contract file says of a running installation, and the ports where none runs."""
    settings, running = subject.settings, subject.running
    if running is None:
        taken = [
            port for port in (settings.port, settings.operator_port) if port and not await _is_free(settings, port)
        ]
        found = [note("installation", f"none runs in {settings.data_dir}", "`atelier up` starts one")]
        return [*found, *(note("ports", f"{port} is taken", "`atelier up` takes the next free one") for port in taken)]
    gone = sorted(name for name, pid in running.pids.items() if not _lives(pid))
    if gone:
        advice = "stop and start `atelier up`; its log is in the data folder"
        return [bad("installation", f"{', '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone", advice)]
    return [good("installation", f"{len(running.pids)} processes live"), *await _answers(running)]


async def _answers(running: Contract) -> list[Finding]:
    urls = {"API": f"{running.base_url}/health/ready", "operators' port": f"{running.operator_url}/health/ready"}
    found = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
        for part, url in urls.items():
            status = await _status(session, url)
            says = f"{url} answers {status}" if status else f"{url} does not answer"
            found.append(good(part, says) if status == 200 else bad(part, says, "look into var/log/api.log"))
        silent = [url for url in running.metrics_urls if await _status(session, url) != 200]
    return [*found, *_of_metrics(running, silent)]


def _of_metrics(running: Contract, silent: Iterable[str]) -> list[Finding]:
    broken = [bad("metrics", f"{url} does not answer", "look into the logs") for url in silent]
    return broken or [good("metrics", f"{len(running.metrics_urls)} processes show theirs")]


async def _status(session: aiohttp.ClientSession, url: str) -> int:
    """0: no answer."""
    try:
        async with session.get(url) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


async def _is_free(settings: Settings, port: int) -> bool:
    try:
        server = await asyncio.start_server(lambda *_: None, settings.host, port)
    except OSError:
        return False
    server.close()
    return True


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
