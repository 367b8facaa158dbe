from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.notifications import sanitising


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("Ten & <3", "Ten &amp; &lt;3"),
        ("<b>50 %</b> off", "<b>50 %</b> off"),
        ("<B onclick=steal()>bold</B>", "<b>bold</b>"),
        ("<b>never <i>closed", "<b>never <i>closed</i></b>"),
        ("</td></table>", "&lt;/td&gt;&lt;/table&gt;"),
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ('<a href="https://evil.example">here</a>', '&lt;a href="https://evil.example"&gt;here&lt;/a&gt;'),
        ("<img src=x onerror=alert(1)>", "&lt;img src=x onerror=alert(1)&gt;"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("مرحبا", "مرحبا"),
    ],
)
def test_users_words_keep_plain_tags_and_show_the_rest(written: str, shown: str) -> None:
    assert sanitising.clean_html(written) == shown


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@given(st.text(alphabet=st.sampled_from("<>/=\"'&;! abijpsx:-\n"), max_size=80))
@example("<!--<b>--><img src=x>")
@example("<svg><b onload=x></svg>")
@example("<math><mtext><b><style><img src=x onerror=alert(1)></style>")
def test_no_text_becomes_anything_but_plain_tags(text: str) -> None:
    parser = _Tags()
    parser.feed(sanitising.clean_html(text))
    parser.close()
    assert all(tag in {"b", "br", "code", "em", "i", "s", "strong", "u"} and not attrs for tag, attrs in parser.found)


@given(st.text(), st.integers(min_value=1, max_value=20))
@example("a\r\nBcc: eve@evil.example", 20)
@example("a\x00b\x85c\u2028d", 20)
def test_a_line_is_one_line_of_the_length_allowed(text: str, limit: int) -> None:
    line = sanitising.one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


def test_a_long_line_is_cut_and_says_so() -> None:
    assert sanitising.one_line("a summer  sale\nposter", 14) == "a summer sale…"
    assert sanitising.one_line("short") == "short"
