"""Pages as HTML: takes texts from anywhere and markup of our own, gives one document that loads and runs nothing.

What is a `str` is text, and is escaped; what is `Html` is markup, made here or by `distill.charts`. Characters that are
not seen, or that steer what is seen around them, come out as their numbers, and no text takes more than a stated number
of bytes of the page. A policy in its head forbids the document every script, request and style but its own.
"""

import base64
import hashlib
import html
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

MOST = 2_000
"""Bytes of a text on the page, where nothing else is said."""
MOST_ROWS = 200
"""Rows of a table."""


@dataclass(frozen=True)
class Html:
    """Markup as it is written."""

    markup: str


@dataclass(frozen=True)
class Column:
    """A table's column; numbers stand to the right. One of long names (`roomy`) is not broken within their words."""

    name: str
    number: bool = True
    roomy: bool = False


Content = str | Html


def text(content: str, most: int = MOST) -> Html:
    """A text as markup of at most `most` bytes, and a few more that say what was left out of its middle.

    What cannot be seen (control characters, bidirectional overrides, lone surrogates) is written as ⟨U+202E⟩.
    """
    content = content.replace("\r\n", "\n")
    whole = _fitting(content, most)
    if len(whole) == len(content):
        return Html("".join(whole))
    head, tail = _fitting(content, most * 2 // 3), _fitting(reversed(content), most // 3)[::-1]
    left_out = len(content) - len(head) - len(tail)
    cut = f'<span class="cut">[… {left_out:,} characters left out …]</span>'
    return Html(f"{''.join(head)}{cut}{''.join(tail)}")


def element(tag: str, *children: Content, **attributes: str) -> Html:
    """An element. Attributes are named as in HTML, with `class_` for class and `aria_label` for aria-label."""
    named = "".join(f' {name.rstrip("_").replace("_", "-")}="{_bare(value)}"' for name, value in attributes.items())
    return Html(f"<{tag}{named}>{joined(children).markup}</{tag}>")


def joined(parts: Iterable[Content]) -> Html:
    """One part after the other, texts escaped."""
    return Html("".join((part if isinstance(part, Html) else text(part)).markup for part in parts))


def block(content: str, most: int) -> Html:
    """A text with its lines as they are, in letters of one width."""
    return element("pre", text(content, most), dir="auto")


def table(caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Content]]) -> Html:
    """A table whose first column names the row; it has at most `MOST_ROWS` rows, and says how many there are more."""
    head = element("tr", *(element("th", one.name, scope="col", class_=_side(one)) for one in columns))
    left = iter(rows)
    body = [_row(columns, row) for row in islice(left, MOST_ROWS)]
    more = sum(1 for _ in left)
    said = f"{caption} ({more:,} more rows are left out)" if more else caption
    inner = element("table", element("caption", said), element("thead", head), element("tbody", *body))
    return element("div", inner, class_="wide", role="region", tabindex="0", aria_label=caption)


def facts(pairs: Iterable[tuple[str, Content]]) -> Html:
    """Names with what is said of them."""
    return element("dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs))


def figure(svg: str, caption: str) -> Html:
    """A picture that `distill.charts` drew, with a line under it."""
    return element("figure", Html(svg), element("figcaption", caption), tabindex="0")


def section(anchor: str, title: str, *children: Content) -> Html:
    """A part of the page, to which `#anchor` leads."""
    return element("section", element("h2", title), *children, id=anchor)


def folded(summary: Content, *children: Content) -> Html:
    """What is seen once its summary is opened."""
    return element("details", element("summary", summary), *children)


def page(title: str, body: Iterable[Content]) -> str:
    """The whole document. Everything it needs is in it."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{_bare(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body>\n<main>\n{joined(body).markup}\n</main>\n</body>\n</html>\n"
    )


def _row(columns: Sequence[Column], row: Sequence[Content]) -> Html:
    cells = [element("th", row[0], scope="row", **({"class_": "roomy"} if columns[0].roomy else {}))]
    cells += [element("td", cell, class_=_side(one)) for one, cell in zip(columns[1:], row[1:], strict=True)]
    return element("tr", *cells)


def _side(column: Column) -> str:
    return "number" if column.number else "words roomy" if column.roomy else "words"


def _bare(content: str) -> str:
    """A text where no element may stand: in an attribute, or as the document's title."""
    return "".join(_fitting(content, MOST))


def _fitting(letters: Iterable[str], most: int) -> list[str]:
    """The markup of the first letters, as many as fit into so many bytes."""
    fitting, used = [], 0
    for piece in _pieces(letters):
        used += len(piece.encode())
        if used > most:
            break
        fitting.append(piece)
    return fitting


def _pieces(letters: Iterable[str]) -> Iterator[str]:
    for letter in letters:
        if letter.isprintable() or letter in "\n\t\u00a0\u3000":
            yield html.escape(letter)
        else:
            yield f"⟨U+{ord(letter):04X}⟩"


STYLE = """
:root{--ground:#fff;--ink:#1c2024;--soft:#5b6470;--line:#d9dde3;--raised:#f5f7f9;--link:#1f5fa8;
--good:#1d7a3e;--bad:#b3261e;--open:#8a5a00}
@media (prefers-color-scheme:dark){:root{--ground:#121417;--ink:#e6e8eb;--soft:#a2abb6;--line:#363c44;
--raised:#1b1f24;--link:#8dbbf0;--good:#67c98a;--bad:#ff8f86;--open:#e5b35c}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:76rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}
h1{font-size:1.8rem;line-height:1.2;margin:.2rem 0 .4rem;overflow-wrap:anywhere}
h2{font-size:1.3rem;margin:2.6rem 0 .8rem;padding-top:1rem;border-top:1px solid var(--line)}
h3{font-size:1.05rem;margin:1.8rem 0 .5rem;overflow-wrap:anywhere}
h4{font-size:.95rem;margin:0 0 .3rem;overflow-wrap:anywhere}
p{margin:.5rem 0;max-width:62rem;overflow-wrap:anywhere}
a{color:var(--link)}
nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1.1rem;list-style:none;padding:0;margin:1rem 0}
.soft,small,figcaption,caption{color:var(--soft)}
small{font-size:.82rem}
.good{color:var(--good)}.bad{color:var(--bad)}.open{color:var(--open)}
.verdict{font-weight:600;font-size:1.1rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.7rem;margin:1.2rem 0}
.tile{background:var(--raised);border:1px solid var(--line);border-radius:.5rem;padding:.6rem .8rem}
.tile b{display:block;font-size:1.35rem;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(20rem,100%),1fr));gap:.15rem 2rem;margin:.6rem 0}
dl div{display:flex;gap:.8rem;justify-content:space-between;border-bottom:1px solid var(--line);padding:.2rem 0}
dt{color:var(--soft)}dd{margin:0;text-align:right;overflow-wrap:anywhere;min-width:0}
.wide{overflow-x:auto;margin:.9rem 0}
table{border-collapse:collapse;font-size:.92rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.2rem 0 .35rem}
th,td{padding:.32rem .7rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{border-bottom:2px solid var(--line)}
tbody th{font-weight:500;min-width:7.5rem;max-width:22rem;overflow-wrap:anywhere}
tbody th,thead th:first-child{position:sticky;left:0;background:var(--ground)}
.number{text-align:right;white-space:nowrap}
td small,tbody th small{display:block}
td.words{min-width:7.5rem;max-width:34rem;overflow-wrap:anywhere}
@media (min-width:40rem){tbody th.roomy,td.roomy{min-width:13.5rem}}
tr .bar{width:8rem;height:.6rem;display:block;margin:.45rem 0}
figure{margin:1rem 0;overflow-x:auto;max-width:56rem}
figure svg{display:block;min-width:40rem;width:100%;height:auto}
figure svg text{fill:var(--ink)}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));gap:0 1.5rem}
.pair figure svg{min-width:30rem}
article{border:1px solid var(--line);border-radius:.5rem;padding:.8rem 1rem;margin:1rem 0}
.answers{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(17rem,100%),1fr));gap:.8rem;margin-top:.8rem}
.answer{background:var(--raised);border-radius:.4rem;padding:.6rem .75rem;min-width:0}
pre{white-space:pre-wrap;overflow-wrap:anywhere;overflow:hidden;margin:.3rem 0;font:.86rem/1.45 ui-monospace,monospace;
unicode-bidi:isolate}
summary{cursor:pointer;color:var(--link);overflow-wrap:anywhere}
.cut{color:var(--open)}
.note{background:var(--raised);border-left:4px solid var(--open);padding:.5rem .9rem;margin:.8rem 0}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
@media print{details{display:block}.wide,figure{overflow:visible}}
"""
"""Text is at least 4.5 to 1 on its ground, in light and in dark."""
