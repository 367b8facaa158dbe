"""Which store the settings ask for."""

from runtime.settings import Settings
from storage.base import ObjectStore
from storage.local import LocalStore
from storage.memory import MemoryStore


def build_store(settings: Settings) -> ObjectStore:
    """Raises StorageUnavailableError when the local store's folder can't be made."""
    match settings.storage:
        case "local":
            return LocalStore(settings.storage_dir)
        case "memory":
            return MemoryStore()
