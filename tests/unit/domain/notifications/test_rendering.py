from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser

import jinja2
import pytest

from domain.notifications import rendering
from domain.notifications.rendering import Kind

READY: dict[str, object] = {
    "words": "A poster for the <b>summer</b> sale",
    "image_url": "https://api.example.com/assets/o/a.png?expires=1&signature=ab",
    "preview_url": "https://api.example.com/assets/o/p.png?expires=1&signature=cd",
    "width": 1200,
    "height": 630,
    "format": "png",
    "bytes": 312_400,
    "credits": 1,
    "link_expires_at": datetime(2026, 11, 27, 9, 30, tzinfo=timezone(timedelta(hours=1))),
    "generation_id": "gen_01k9x0m2h3f4a5b6c7d8e9f0ga",
    "organization": "Northwind",
}
FAILED: dict[str, object] = {
    "words": "A poster for the <b>summer</b> sale",
    "reason": "The picture's address can't be reached.",
    "credits": 2,
    "generation_id": "gen_01k9x0m2h3f4a5b6c7d8e9f0ga",
    "organization": "Northwind",
}
CONTEXTS: dict[Kind, dict[str, object]] = {"image_ready": READY, "image_failed": FAILED}


VOID_TAGS = {"meta", "img", "br"}


class _Page(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += f" {data.strip()}"

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.attributes if name == tag]


def test_a_ready_image_is_shown_with_its_facts_in_both_forms() -> None:
    mail = rendering.render("image_ready", READY)
    assert mail.subject == "Your image is ready: A poster for the <b>summer</b> sale"
    for form in (mail.text, _Page(mail.html).text):
        for fact in (
            "PNG, 312 KB",
            "1 credit",
            "27 November 2026, 08:30 UTC",
            "Northwind",
            str(READY["generation_id"]),
        ):
            assert fact in form
    assert str(READY["image_url"]) in mail.text


def test_the_picture_has_a_text_in_its_place_and_links_to_the_image() -> None:
    page = _Page(rendering.render("image_ready", READY).html)
    [picture] = page.of("img")
    assert picture["src"] == READY["preview_url"]
    assert picture["alt"] == READY["words"]
    assert [link["href"] for link in page.of("a")] == [READY["image_url"]] * 2


def test_a_format_without_a_preview_has_no_picture() -> None:
    mail = rendering.render("image_ready", READY | {"preview_url": "", "format": "pdf"})
    assert _Page(mail.html).of("img") == []


def test_an_image_made_without_words_is_not_quoted() -> None:
    mail = rendering.render("image_ready", READY | {"words": ""})
    assert mail.subject == "Your image is ready"
    assert "\n>" not in mail.text
    assert 'class="words"' not in mail.html


def test_a_failed_image_says_why_and_that_nothing_was_charged() -> None:
    mail = rendering.render("image_failed", FAILED)
    for form in (mail.text, _Page(mail.html).text):
        assert "The picture's address can't be reached." in form
        assert "nothing" in form
        assert "2 credits" in form


@pytest.mark.parametrize("kind", rendering.KINDS)
def test_a_mail_is_well_formed_and_loads_nothing_but_its_picture(kind: Kind) -> None:
    page = _Page(rendering.render(kind, CONTEXTS[kind]).html)
    assert page.open == []
    assert {tag for tag, _ in page.attributes} <= {
        "html", "head", "meta", "title", "style", "body", "div", "table", "tr", "td", "a", "img", "span", "b", "br",
    }  # fmt: skip


@pytest.mark.parametrize("kind", rendering.KINDS)
def test_hostile_words_change_nothing(kind: Kind) -> None:
    hostile = '"><script>alert(1)</script></td><img src=x onerror=y>\r\nBcc: eve@evil.example'
    fields = [name for name, value in CONTEXTS[kind].items() if isinstance(value, str)]
    usual = _Page(rendering.render(kind, CONTEXTS[kind] | {"words": "plain"}).html)
    for field in fields:
        mail = rendering.render(kind, CONTEXTS[kind] | {"words": "plain"} | {field: hostile})
        page = _Page(mail.html)
        assert [tag for tag, _ in page.attributes] == [tag for tag, _ in usual.attributes]
        assert "\n" not in mail.subject


@pytest.mark.parametrize("kind", rendering.KINDS)
def test_a_missing_value_fails_instead_of_leaving_a_gap(kind: Kind) -> None:
    for name in CONTEXTS[kind]:
        with pytest.raises(jinja2.UndefinedError):
            rendering.render(kind, {key: value for key, value in CONTEXTS[kind].items() if key != name})


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 KB"), (999_499, "999 KB"), (999_500, "1.0 MB"),
     (1_449_000, "1.4 MB")],
)  # fmt: skip
def test_a_size_reads_as_in_a_file_manager(count: int, shown: str) -> None:
    assert rendering.file_size(count) == shown


def test_a_moment_is_said_in_utc() -> None:
    assert rendering.day_and_time(datetime(2026, 1, 2, 3, 4, tzinfo=UTC)) == "2 January 2026, 03:04 UTC"
