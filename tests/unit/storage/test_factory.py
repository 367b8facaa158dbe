from pathlib import Path

from runtime import settings
from storage import factory
from storage.local import LocalStore
from storage.memory import MemoryStore


def test_the_settings_choose_the_store(tmp_path: Path) -> None:
    local = settings.load({}, tmp_path / ".env", data_dir=tmp_path)
    assert isinstance(factory.build_store(local), LocalStore)
    assert (tmp_path / "storage").is_dir()
    memory = settings.load({"ATELIER_STORAGE": "memory"}, tmp_path / ".env")
    assert isinstance(factory.build_store(memory), MemoryStore)
