"""Facts about uploaded pictures."""

from domain.events.base import Event


class FileUploaded(Event, frozen=True, kw_only=True):
    """`bytes` is the size of what is kept, which is written anew from what was sent."""

    type = "file.uploaded"
    examples = {1: {"content_type": "image/png", "bytes": 48213}}
    public = False

    content_type: str
    bytes: int


class FileDeleted(Event, frozen=True, kw_only=True):
    type = "file.deleted"
    examples = {1: {}}
    public = False
