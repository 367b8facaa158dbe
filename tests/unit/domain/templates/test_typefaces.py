import shutil

from domain.templates import typefaces


def test_the_shipped_fonts_come_with_their_licence_and_stay_small():
    assert "SIL OPEN FONT LICENSE" in (typefaces.SHIPPED / "OFL.txt").read_text()
    assert sum(path.stat().st_size for path in typefaces.files(None)) < 6_000_000


def test_the_digest_depends_on_the_contents_and_on_nothing_else(tmp_path):
    original = typefaces.files(None)[0]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    shutil.copy(original, tmp_path / "one" / "A.ttf")
    shutil.copy(original, tmp_path / "two" / "renamed.otf")
    (tmp_path / "two" / "README").write_text("not a font")
    assert typefaces.digest(tmp_path / "one") == typefaces.digest(tmp_path / "two") != typefaces.digest(None)
