"""How many tasks of each queue one process carries out at once: a receiver that keeps its callers waiting fills the
room of its own queue, and neither the threads that take messages nor the rooms of the other queues.
"""

import asyncio
from typing import Final

from queue_config.queues import Queue

MESSAGES_PER_ROOM: Final = 8


class Room:
    """Lives on one event loop."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._used = 0
        self._left = asyncio.Condition()

    async def enter(self, count: int) -> None:
        """Waits until there are so many places; more than the room has are let in when it is empty."""
        async with self._left:
            await self._left.wait_for(lambda: self._used == 0 or self._used + count <= self._size)
            self._used += count

    async def leave(self, count: int) -> None:
        async with self._left:
            self._used -= count
            self._left.notify_all()


class Rooms:
    def __init__(self) -> None:
        self._rooms: dict[str, Room] = {}

    def of(self, queue: Queue) -> Room:
        if queue.name not in self._rooms:
            self._rooms[queue.name] = Room(queue.tasks_per_message * MESSAGES_PER_ROOM)
        return self._rooms[queue.name]
