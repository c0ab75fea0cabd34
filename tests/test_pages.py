"""Pages: text is text whatever is in it, takes no more room than it may, and the document carries its own policy."""

import base64
import hashlib
import re

import pytest

from distill import pages
from distill.pages import Column, Html
from tests.browser import strange


@pytest.mark.parametrize(
    ("content", "markup"),
    [
        ("a < b & c > \"d' ", "a &lt; b &amp; c &gt; &quot;d&#x27; "),
        ("left\u202etfel\u2069", "left⟨U+202E⟩tfel⟨U+2069⟩"),
        ("\x00\x07\x1b[2J\x7f", "⟨U+0000⟩⟨U+0007⟩⟨U+001B⟩[2J⟨U+007F⟩"),
        ("\ud800 and \udfff", "⟨U+D800⟩ and ⟨U+DFFF⟩"),
        ("zero\u200bwidth\ufeff", "zero⟨U+200B⟩width⟨U+FEFF⟩"),
        ("one\r\ntwo\n\tthree\rfour", "one\ntwo\n\tthree⟨U+000D⟩four"),
        ("שלום, 漢字, é, 🙂, \u00a0", "שלום, 漢字, é, 🙂, \u00a0"),
        ("", ""),
    ],
)
def test_text_is_escaped_and_shows_what_is_not_seen(content: str, markup: str) -> None:
    assert pages.text(content).markup == markup
    markup.encode()


@pytest.mark.parametrize("letter", ["x", "<", "漢", "\u202e", "\ud800"])
def test_a_long_text_keeps_its_ends_and_takes_no_more_bytes_than_it_may(letter: str) -> None:
    whole = "begins " + letter * 1_000_000 + " ends"
    markup = pages.text(whole, 600).markup
    ours = re.search(r'<span class="cut">\[… ([\d,]+) characters left out …\]</span>', markup)
    assert ours is not None and markup.startswith("begins ") and markup.endswith(" ends")
    rest = markup.replace(ours[0], "")
    assert 500 < len(rest.encode()) <= 600
    shown = rest.count("⟨") or rest.count("&lt;") or rest.count("x") or rest.count("漢")
    assert int(ours[1].replace(",", "")) == 1_000_000 - shown


def test_a_text_of_just_the_size_is_whole() -> None:
    assert pages.text("x" * 600, 600).markup == "x" * 600


def test_what_goes_into_an_attribute_stays_there() -> None:
    made = pages.element("p", "x", title='"><script>' + "y" * 5000, aria_label="é")
    assert made.markup.startswith('<p title="&quot;&gt;&lt;script&gt;yyy') and "<span" not in made.markup
    assert made.markup.count("<") == 2 and len(made.markup) < 2500


def test_only_markup_of_our_own_is_markup() -> None:
    made = pages.joined(["<b>", Html("<b>"), pages.element("i", "<b>")])
    assert made.markup == "&lt;b&gt;<b><i>&lt;b&gt;</i>"


def test_a_table_names_its_columns_and_rows_and_has_an_end() -> None:
    rows = ([f"row {at}", f"{at}"] for at in range(1000))
    made = pages.table("Numbers", [Column("name", False), Column("count")], rows).markup
    assert made.count('<th scope="col"') == 2 and made.count('<th scope="row">') == pages.MOST_ROWS
    assert "<caption>Numbers (800 more rows are left out)</caption>" in made


def test_the_policy_forbids_all_but_the_page_s_own_style() -> None:
    document = pages.page("</title><script>", ["text"])
    style = re.search(r"<style>(.*?)</style>", document, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'" in document
    assert document.index("Content-Security-Policy") < document.index("<title>")
    assert strange(document) == []


def _luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    full = colour if len(colour) == 7 else "#" + "".join(letter * 2 for letter in colour[1:])
    parts = [int(full[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_every_colour_of_text_can_be_read_on_both_grounds(which: int) -> None:
    colours = dict(re.findall(r"--(\w+):(#\w+)", re.findall(r":root\{(.*?)\}", pages.STYLE, re.S)[which]))
    for ground in ("ground", "raised"):
        for ink in ("ink", "soft", "link", "good", "bad", "open"):
            one, other = sorted((_luminance(colours[ground]), _luminance(colours[ink])))
            assert (other + 0.05) / (one + 0.05) >= 4.5, (ground, ink)
