"""Refusals about uploaded pictures."""

from domain.errors import Invalid, NotFound, TooLarge, Unavailable


class FileNotFound(NotFound):
    """There is no such file here."""

    code = "file_not_found"


class FileTooLarge(TooLarge):
    """A file may have 20 MiB."""

    code = "file_too_large"


class PictureUnreadable(Invalid):
    """The file is not a whole PNG, JPEG or WebP picture."""

    code = "picture_unreadable"


class PictureTooLarge(Invalid):
    """The picture is too large when it is unpacked."""

    code = "picture_too_large"


class InspectionUnavailable(Unavailable):
    """Pictures cannot be checked at the moment; try again."""

    code = "inspection_unavailable"
