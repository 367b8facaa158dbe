"""What each worker group is given."""

from typing import get_args

import msgspec
import pytest

from domain.webhooks import deliveries
from queue_config.queues import QUEUES, Group
from queue_config.stub_broker import StubBroker
from runtime.database import Database, SystemDatabase
from runtime.settings import Secret, Settings
from workers import app, toolboxes
from workers.actor import Actor
from workers.tools import Tools

NOTHING = Secret("")


def bind_all(tools: Tools, actor: Actor) -> None:
    batch = (actor.batch.prepare, actor.batch.record) if actor.batch else ()
    for function in filter(None, (actor.prepare, actor.work, actor.record, *batch)):
        tools.bind(function)


@pytest.mark.parametrize("group", get_args(Group))
async def test_each_group_has_what_its_actors_ask_for_and_lacks_what_the_others_do(
    group: Group, settings: Settings, database: Database, system: SystemDatabase
) -> None:
    own = msgspec.structs.replace(settings, image_workers=1, smtp_url=Secret("smtp://127.0.0.1:25"))
    async with toolboxes.opened(own, database, system, group, StubBroker(QUEUES)) as tools:
        for actor in app.actors_of(group).values():
            bind_all(tools, actor)
        assert (tools.keyring is None) == (tools.mail is None) == (group == "images")
        assert (tools.renderers is None) == (group == "io")


async def test_images_are_made_without_any_secret_but_the_way_to_the_database(
    settings: Settings, database: Database, system: SystemDatabase
) -> None:
    poor = msgspec.structs.replace(
        settings, image_workers=1, encryption_keys=NOTHING, signing_keys=NOTHING, smtp_url=NOTHING
    )
    async with toolboxes.opened(poor, database, system, "images", StubBroker(QUEUES)) as tools:
        with pytest.raises(TypeError, match=r"send asks for .*keyring.*, which its group does not have"):
            tools.bind(deliveries.send)
