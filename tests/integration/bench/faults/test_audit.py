"""The judge of the fault harness: silent about a sound round, and loud about each planted fault."""

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.faults import audit
from bench.faults.audit import Evidence
from bench.faults.journal import Answered, Asked, Delivered, Struck, Woken
from bench.tenants import Tenant
from domain.webhooks import signing
from runtime.settings import Settings

IMAGE = b"an image"
KEY = "o/org_1/image.png"
SECRET = "whsec_" + "c2VjcmV0" * 6
AT = 1_800_000_000


def delivered(event: str, kind: str, **changed: Any) -> Delivered:
    body = json.dumps({"type": kind, "data": {"id": changed.pop("subject", "gen_1")}})
    headers = signing.sign([SECRET], event, datetime.fromtimestamp(AT, UTC), body.encode())
    line = Delivered(
        at=AT + 1,
        hook=0,
        tenant=0,
        id=event,
        timestamp=headers["webhook-timestamp"],
        signature=headers["webhook-signature"],
        body=body,
        status=204,
    )
    return msgspec.structs.replace(line, **changed)


@pytest.fixture
def sound(tmp_path: Path) -> Evidence:
    """One generation, succeeded, with its image, its mail and its two webhooks."""
    settings = Settings(data_dir=tmp_path)
    image = settings.storage_dir / KEY
    image.parent.mkdir(parents=True)
    image.write_bytes(IMAGE)
    settings.mail_dir.mkdir()
    (settings.mail_dir / "20270101T000000.000000Z-000000-ntf_1@atelier.example.eml").touch()
    asset = {"storage_key": KEY, "sha256": hashlib.sha256(IMAGE).hexdigest(), "bytes": len(IMAGE)}
    url = "http://127.0.0.1:9000/0/0"
    return Evidence(
        settings=settings,
        tenants=[Tenant("org_1", "atl_live_x", (SECRET,))],
        asked=[Asked(at=AT, key="1", what="image", tenant=0)],
        answered=[Answered(at=AT, key="1", status=202, id="gen_1", sha256="x")],
        delivered=[delivered("evt_1", "generation.accepted"), delivered("evt_2", "generation.succeeded")],
        struck=[Struck(at=AT, blow="kill worker-io", pid=17)],
        woken=[Woken(at=AT, blow="freeze worker-io", pid=18, held={7: 3, 8: 4}, now={7: 5, 8: 4})],
        generations=[{"id": "gen_1", "status": "succeeded", "key": "1", "seconds": 1.0}],
        assets=[asset | {"generation_id": "gen_1"}],
        uploads=[],
        expected=[
            {"id": "evt_1", "type": "generation.accepted", "subject": "gen_1", "url": url},
            {"id": "evt_2", "type": "generation.succeeded", "subject": "gen_1", "url": url},
        ],
        mails=[{"id": "ntf_1", "subject": "gen_1"}],
        tokens={7: 5, 8: 4},
        deaths=[{"pid": 17, "at": datetime.fromtimestamp(AT + 9, UTC)}],
        dead={},
        broken=[],
    )


def changed(**values: Any) -> Callable[[Evidence], Evidence]:
    return lambda evidence: msgspec.structs.replace(evidence, **values)


def more(name: str, *lines: Any) -> Callable[[Evidence], Evidence]:
    return lambda evidence: msgspec.structs.replace(evidence, **{name: [*getattr(evidence, name), *lines]})


def without_last(name: str) -> Callable[[Evidence], Evidence]:
    return lambda evidence: msgspec.structs.replace(evidence, **{name: getattr(evidence, name)[:-1]})


def damaged(evidence: Evidence) -> Evidence:
    (evidence.settings.storage_dir / KEY).write_bytes(b"a" * len(IMAGE))
    return evidence


def with_a_stray_file(evidence: Evidence) -> Evidence:
    (evidence.settings.storage_dir / "o/org_1/stray.png").touch()
    return evidence


async def test_a_sound_round_breaks_no_rule(sound: Evidence) -> None:
    assert await audit.judge(sound) == []


@pytest.mark.parametrize(
    ("plant", "kind", "rule"),
    [
        (
            changed(generations=[], mails=[], expected=[], delivered=[]),
            "lost",
            "what was accepted is in the database",
        ),
        (
            more("answered", Answered(at=AT, key="1", status=202, id="gen_1", sha256="y")),
            "doubled",
            "one key is always given the same answer",
        ),
        (
            more("generations", {"id": "gen_2", "status": "cancelled", "key": "1", "seconds": 1.0}),
            "doubled",
            "one key makes one generation",
        ),
        (
            more("generations", {"id": "gen_2", "status": "cancelled", "key": "2", "seconds": 1.0}),
            "books",
            "every generation was asked for",
        ),
        (without_last("delivered"), "lost", "every event was delivered"),
        (
            changed(delivered=[delivered("evt_1", "generation.accepted", status=500)]),
            "lost",
            "every event was delivered",
        ),
        (more("delivered", delivered("evt_9", "generation.accepted")), "books", "a webhook speaks of an event"),
        (
            more("delivered", delivered("evt_1", "generation.accepted", subject="gen_2")),
            "books",
            "a webhook says what its event says",
        ),
        (
            more("delivered", delivered("evt_2", "generation.succeeded", body='{"type":"","data":{"id":""}}')),
            "books",
            "a webhook is repeated byte for byte",
        ),
        (
            more("delivered", delivered("evt_2", "generation.succeeded", signature="v1,AAAA")),
            "books",
            "every webhook's signature verifies",
        ),
        (
            more("delivered", delivered("evt_2", "generation.succeeded", at=AT + 400)),
            "books",
            "every webhook's signature verifies",
        ),
        (more("delivered", delivered("evt_9", "generation.failed")), "doubled", "an end is told under one id"),
        (without_last("mails"), "lost", "every end was mailed"),
        (damaged, "lost", "every image is stored as it was made"),
        (changed(tokens={7: 3}), "books", "a lease that was lost stays lost"),
        (with_a_stray_file, "books", "every stored image is somebody's"),
    ],
)
async def test_a_planted_fault_is_named(
    sound: Evidence, plant: Callable[[Evidence], Evidence], kind: str, rule: str
) -> None:
    assert (kind, rule) in {(breach.kind, breach.rule) for breach in await audit.judge(plant(sound))}


async def test_the_same_webhook_twice_is_no_fault(sound: Evidence) -> None:
    again = more("delivered", delivered("evt_2", "generation.succeeded"))
    assert await audit.judge(again(sound)) == []


def test_recovery_is_counted_from_the_kill_to_the_moment_when_the_task_could_be_had_again(sound: Evidence) -> None:
    assert audit.recoveries(sound) == [9.0]
    again = more("struck", Struck(at=AT + 4, blow="freeze worker-io", pid=17), Struck(at=AT + 20, blow="x", pid=17))
    assert audit.recoveries(again(sound)) == [5.0]
