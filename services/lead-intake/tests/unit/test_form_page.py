"""The form for the phone can be read and used by everybody, also without its script. Looked at in Chromium with axe."""

import re
from html.parser import HTMLParser

import pytest

from lead_intake.delivery import Reply, Source
from lead_intake.form_page import WORDS, after, form, sent

SOURCE = Source("stand", "generic", settings={"form_page": "on", "form_privacy_url": "https://example.com/privacy"})


class Page(HTMLParser):
    """The elements of a page, in order, with their attributes."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text = reply.body.decode()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def luminance(colour: str) -> float:
    """Relative luminance, after WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(c * 2 for c in digits) if len(digits) == 3 else digits
    parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_and_links_stand_out_by_day_and_by_night() -> None:
    style = Page(form(SOURCE, "en")).text.partition("<style>")[2].partition("</style>")[0]
    schemes = re.findall(r"html\{background:(#\w+);color:(#\w+)\}", style)
    links = re.findall(r"a\{color:(#\w+)", style)
    assert len(schemes) == len(links) == 2, "each scheme says all of its colours"
    for (paper, ink), link in zip(schemes, links, strict=True):
        assert contrast(paper, ink) >= 4.5
        assert contrast(paper, link) >= 4.5
    [(button, label)] = re.findall(r"button\{[^}]*background:(#\w+);[^}]*[;{]color:(#\w+)", style)
    assert contrast(button, label) >= 4.5


@pytest.mark.parametrize("lang", sorted(WORDS))
def test_every_page_has_its_language_a_title_and_one_heading(lang: str) -> None:
    refused = after(Reply(202), SOURCE, lang=lang, path=b"/f")
    busy = after(Reply(503), SOURCE, lang=lang, path=b"/f")
    for reply in (form(SOURCE, lang), sent(SOURCE, lang), refused, busy):
        page = Page(reply)
        assert page.all("html") == [{"lang": lang}]
        assert len(page.all("h1")) == len(page.all("main")) == len(page.all("title")) == 1
        [viewport] = [m["content"] for m in page.all("meta") if m.get("name") == "viewport"]
        assert "user-scalable" not in str(viewport)
        assert "maximum-scale" not in str(viewport), "whoever cannot read it may enlarge it"
    assert any(p.get("role") == "alert" for p in Page(refused).all("p"))
    assert any(p.get("role") == "status" for p in Page(sent(SOURCE, lang)).all("p"))


def test_the_form_is_sent_without_its_script_and_says_what_is_needed() -> None:
    page = Page(form(SOURCE, "en"))
    [one] = page.all("form")
    assert (one["method"], "action" in one) == ("post", False), "to its own address"
    assert [b["type"] for b in page.all("button")] == ["submit"]
    assert not [a for _, attributes in page.found for a in attributes if a.startswith("on")]
    described = {i["name"]: i.get("aria-describedby") for i in page.all("input") if i.get("type") in ("email", "tel")}
    assert set(described.values()) == {"hint"}
    assert [p for p in page.all("p") if p.get("id") == "hint"]
    typed = [i for i in page.all("input") if i.get("type") in ("text", "email", "tel")]
    assert all(i.get("autocomplete") for i in typed)
