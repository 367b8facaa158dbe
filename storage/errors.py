"""What can go wrong with an object or its address.

StorageError
  InvalidKeyError  InvalidContentTypeError
  ObjectNotFoundError  ObjectExistsError  ObjectDamagedError  ChecksumMismatchError
  StorageUnavailableError
    StorageFullError
  SignatureError
    SignatureExpiredError  SignatureInvalidError
"""


class StorageError(Exception):
    """The base of all errors here; nothing raises it itself."""


class InvalidKeyError(StorageError, ValueError):
    """A key that no store accepts."""


class InvalidContentTypeError(StorageError, ValueError):
    """Not a media type that could be sent as a header."""


class ObjectNotFoundError(StorageError):
    """Nothing is stored under this key."""


class ObjectExistsError(StorageError):
    """Other content is stored under this key; objects never change."""


class ObjectDamagedError(StorageError):
    """What is stored is not what was put. Putting the right content again repairs it."""


class ChecksumMismatchError(StorageError):
    """The content has another SHA-256 than its sender said; nothing was stored."""


class StorageUnavailableError(StorageError):
    """The store can't be reached or can't work; the same call may succeed later."""


class StorageFullError(StorageUnavailableError):
    """No space is left; nothing was stored."""


class SignatureError(StorageError):
    """A signed address that is not to be served."""


class SignatureExpiredError(SignatureError):
    """The signature is ours and its time is over."""


class SignatureInvalidError(SignatureError):
    """The signature is missing, malformed, or not ours for this method, key, expiry and disposition."""
