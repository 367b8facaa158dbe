"""One real image from one real request, shown step by step: what `make run` prints."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
import msgspec

from cli import contract, installation
from cli.installation import Installation
from cli.receiver import Receiver
from runtime import ids
from runtime.settings import Settings

Progress = installation.Progress
PATIENCE: Final = 30.0
_DESCRIPTION: Final = "the demo's own receiver"


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()


def reaching(settings: Settings, receiver: Receiver) -> Settings:
    """The receiver is on loopback, of which customers' endpoints may reach this one port and nothing else."""
    where = urlsplit(receiver.url)
    allow = ",".join(filter(None, [settings.outbound_allow, f"{where.hostname}/32:{where.port}"]))
    return msgspec.structs.replace(settings, outbound_allow=allow, webhook_insecure_http=True)


async def show(running: Installation, receiver: Receiver) -> None:
    """Makes the image and prints what became of it."""
    async with client(running) as session:
        receiver.secret = await endpoint(session, receiver.url)
        await _show(session, running, receiver)


def client(running: Installation) -> aiohttp.ClientSession:
    """As the demo organization."""
    headers = {"Authorization": f"Bearer {running.contract.api_key}"}
    return aiohttp.ClientSession(running.contract.base_url, headers=headers, timeout=aiohttp.ClientTimeout(total=60))


async def endpoint(session: aiohttp.ClientSession, url: str) -> str:
    """The demo's one endpoint leads to this receiver from now on; returns its secret."""
    for old in (await _get(session, "/v1/webhook-endpoints"))["data"]:
        if old["description"] == _DESCRIPTION:
            async with session.patch(
                f"/v1/webhook-endpoints/{old['id']}", json={"url": url, "status": "enabled"}
            ) as answer:
                await _check(answer)
            async with session.post(f"/v1/webhook-endpoints/{old['id']}/rotate-secret", json={}) as answer:
                return str((await _check(answer))["secret"])
    async with session.post("/v1/webhook-endpoints", json={"url": url, "description": _DESCRIPTION}) as answer:
        return str((await _check(answer))["secret"])


async def _show(session: aiohttp.ClientSession, running: Installation, receiver: Receiver) -> None:
    body = {"prompt": f"The first image of {time.strftime('%A, %H:%M:%S')}"}
    sent = time.time()
    async with session.post("/v1/generations", json=body, headers={"Idempotency-Key": ids.new("demo")}) as answer:
        accepted = await _check(answer)
    accepted_at = time.time()
    generation_id = accepted["id"]
    _say("request", f'POST /v1/generations {{"prompt": "{body["prompt"]}"}}')
    _say("accepted", f"{generation_id}, its credit held and stored in {_ms(sent, accepted_at)}")
    webhook = await receiver.wait_for(lambda got: got.is_end and got.subject == generation_id, PATIENCE)
    generation = await _get(session, f"/v1/generations/{generation_id}")
    _say_image(generation, running.settings.storage_dir)
    usage = await _get(session, "/v1/usage")
    _say("charge", f"{generation['credits']} credit; {usage['credits']['available']:,} left")
    verified = "its signature verified" if webhook.verified else "ITS SIGNATURE IS WRONG"
    _say("webhook", f"{webhook.id} {webhook.event['type']}, {verified}, {_ms(sent, webhook.at)} after the request")
    mail = await _mail(running.settings.mail_dir, generation_id)
    _say("mail", f"{mail}, {_ms(sent, mail.stat().st_mtime)} after the request")
    _say_trail(running, generation_id)
    if not webhook.verified:
        raise RuntimeError("the webhook's signature is wrong")


def _say_image(generation: dict[str, Any], storage_dir: Path) -> None:
    asset = generation["assets"][0]
    path = storage_dir / urlsplit(asset["url"]).path.removeprefix("/assets/")
    size = f"{asset['width']} x {asset['height']} {asset['format']}, {asset['bytes'] / 1000:.0f} KB"
    _say("image", f"{path if path.exists() else asset['url']} ({size})")


def _say_trail(running: Installation, generation_id: str) -> None:
    """The token opens everything of the operator's: it is shown to a person, and never written into a log."""
    address = f"{running.contract.operator_url}/trail/{generation_id}"
    if sys.stdout.isatty():
        _say("trail", f"{address}?token={running.contract.operator_token}")
    else:
        _say("trail", f"{address} (?token= and the operator_token of {running.settings.data_dir}/{contract.NAME})")


async def _mail(folder: Path, generation_id: str) -> Path:
    """The .eml file that speaks of the generation. Raises TimeoutError."""
    async with asyncio.timeout(PATIENCE):
        while (path := _newest_mail(folder, generation_id)) is None:  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    return path


def _newest_mail(folder: Path, generation_id: str) -> Path | None:
    newest = sorted(folder.glob("*.eml"), reverse=True)[:50]
    return next((path for path in newest if generation_id in _unfolded(path)), None)


def _unfolded(path: Path) -> str:
    """Quoted-printable lines joined again."""
    return path.read_text(errors="replace").replace("=\n", "")


async def _get(session: aiohttp.ClientSession, path: str) -> Any:
    async with session.get(path) as answer:
        return await _check(answer)


async def _check(answer: aiohttp.ClientResponse) -> Any:
    body = await answer.json(content_type=None)
    if answer.status >= 300:
        raise RuntimeError(f"{answer.method} {answer.url.path} answered {answer.status}: {body.get('detail')}")
    return body


def _ms(since: float, until: float) -> str:
    return f"{(until - since) * 1000:.0f} ms"


def _say(what: str, text: str) -> None:
    print(f"  {what:<9} {text}", flush=True)
