"""Telling people."""

from domain.notifications import dispatch
from queue_config import queues
from workers.actor import actor

mail = actor(
    "notifications.mail", queue=queues.MAIL, prepare=dispatch.prepare, work=dispatch.send, record=dispatch.record
)
