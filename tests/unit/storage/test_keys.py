import pytest

from storage import keys
from storage.errors import InvalidKeyError

SHA256 = "ab" * 32


def test_equal_content_of_one_namespace_has_one_key() -> None:
    assert keys.content_key("org_1", SHA256, "png") == f"o/org_1/{SHA256}.png"


@pytest.mark.parametrize(
    ("namespace", "sha256", "extension"),
    [
        ("..", SHA256, "png"),
        ("a/b", SHA256, "png"),
        ("", SHA256, "png"),
        ("org_1", SHA256.upper(), "png"),
        ("org_1", SHA256[:-1], "png"),
        ("org_1", SHA256, ""),
        ("org_1", SHA256, "p/g"),
        ("org_1", SHA256, ".png"),
    ],
)
def test_a_part_that_could_change_the_path_is_refused(namespace: str, sha256: str, extension: str) -> None:
    with pytest.raises(InvalidKeyError):
        keys.content_key(namespace, sha256, extension)
