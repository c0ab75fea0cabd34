"""A real browser for tests: takes a page, gives what it made of it, and which requests it sent."""

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--disable-quic", "--no-first-run", "--virtual-time-budget=2000"),
)
HARMLESS = {
    *("html", "head", "meta", "title", "style", "body", "main", "nav", "ul", "li", "a", "section", "footer", "article"),
    *("h1", "h2", "h3", "h4", "p", "b", "span", "small", "div", "dl", "dt", "dd", "pre", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("svg", "g", "line", "path", "text", "rect"),
}
ATTRIBUTES = {
    *("lang", "charset", "http-equiv", "content", "name", "class", "id", "href", "scope", "role", "tabindex", "dir"),
    *("aria-label", "aria-hidden", "xmlns", "viewbox", "preserveaspectratio", "width", "height", "d", "fill"),
    *("fill-opacity", "x", "y", "x1", "x2", "y1", "y2", "text-anchor", "font-size", "font-family"),
    *("stroke", "stroke-width", "stroke-opacity", "stroke-linecap", "stroke-linejoin", "stroke-dasharray"),
}


def hostile(url: str) -> str:
    """A text that tries everything: each of its ways either asks the server at `url` or changes the title."""
    owned = "document.title='owned'"
    return "".join(
        [
            f'"\'></pre></td></dd></details></title></style></script></svg><script>{owned};fetch("{url}/script")</script>',
            f'<img src="{url}/img" onerror="{owned}"><svg onload="{owned}"><image href="{url}/svg"/></svg>',
            f'<iframe srcdoc="<script>parent.{owned}</script>"></iframe><iframe src="{url}/frame"></iframe>',
            f'<meta http-equiv="refresh" content="0;url={url}/meta"><link rel="stylesheet" href="{url}/link">',
            f'<style>@import "{url}/css";body{{background:url({url}/bg)}}</style><base href="{url}/base/">',
            f'<a href="javascript:{owned}" autofocus onfocus="{owned}">x</a>',
            f"<p style=\"background:url('{url}/style')\">",
            f'<object data="{url}/object"></object><!-- <form action="{url}/form"> ]]>',
            "\u202eedirrevo\u2066 \x1b[31m[red]\x07",
        ]
    )


@dataclass
class Visits:
    """A server on the loopback: `pages` are what it has, `hits` the paths that were asked for."""

    url: str = ""
    pages: dict[str, str] = field(default_factory=dict)
    hits: list[str] = field(default_factory=list)


@contextmanager
def visits() -> Iterator[Visits]:
    """The server, until the block ends."""
    seen = Visits()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.hits.append(self.path)
            content = seen.pages.get(self.path, "").encode()
            self.send_response(200 if content else 404)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing is told."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    seen.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def dom(address: str, tmp_path: Path) -> str:
    """The document as the browser has it after two seconds of its own time; skips where there is no browser."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"there is no browser here: none of {', '.join(NAMES)}")
    profile = tmp_path / f"profile-{len(list(tmp_path.iterdir()))}"
    done = subprocess.run(
        [program, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", address],
        capture_output=True,
        timeout=240,
        check=True,
    )
    return done.stdout.decode()


def title(document: str) -> str:
    """What stands in the document's title."""
    found = re.search(r"<title>(.*?)</title>", document, re.S)
    return found[1] if found else ""


def strange(document: str) -> list[str]:
    """Every element and attribute that a page of ours has no use for."""
    found: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.extend([tag] if tag not in HARMLESS else [])
            found.extend(f"{tag} {name}" for name, _ in attrs if name not in ATTRIBUTES)
            found.extend(
                f"href {value}" for name, value in attrs if name == "href" and not (value or "").startswith("#")
            )
            found.extend(
                f"meta {value}" for name, value in attrs if name == "http-equiv" and "Policy" not in (value or "")
            )

        def handle_comment(self, data: str) -> None:
            found.append(f"comment {data}")

    Reader(convert_charrefs=True).feed(document)
    return found
