"""How a server is reached: takes a section and its key, gives an HTTP session, and bodies in bounded pieces."""

import asyncio
import socket
from collections.abc import AsyncIterator
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from distill.engines.reply import Trouble
from distill.teacher_sections import EndpointTeacher

LONGEST_BODY = 256 * 2**20  # bytes; no answer is that long, and memory is not the server's to fill
CONNECT_S = 60.0


async def opened(section: EndpointTeacher, api_key: str | None) -> aiohttp.ClientSession:
    """A session for a section's server, with as many connections as are asked for."""
    proxy = _proxy(section.base_url)
    authorization = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=section.timeout_s, sock_connect=min(CONNECT_S, section.timeout_s)),
        connector=aiohttp.TCPConnector(limit=0, socket_factory=_socket),
        headers={"Content-Type": "application/json", **authorization},
        proxy=proxy.with_user(None) if proxy else None,
        proxy_auth=aiohttp.BasicAuth.from_url(proxy) if proxy else None,
    )


async def pieces(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """The body in pieces; raises Trouble where it never seems to end."""
    size = 0
    async for chunk in answer.content.iter_any():
        size += len(chunk)
        if size > LONGEST_BODY:
            raise Trouble("BadBody", f"the answer is longer than {LONGEST_BODY >> 20} MiB")
        yield chunk


def _proxy(url: str) -> URL | None:
    """The proxy that the environment names for an address.

    Looked up here, once: aiohttp's `trust_env` does it for every request, in a thread, and reads ~/.netrc as well.
    """
    parts = urlsplit(url)
    named = getproxies().get(parts.scheme)
    return URL(named) if named and not proxy_bypass(parts.hostname or "") else None


def _socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """A socket that shows signs of life: a teacher thinks for minutes, and routers drop connections that are still."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_KEEPIDLE"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60)
    return made


async def cancel_all() -> None:
    """Cancels all else that the loop runs and waits until it is gone."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


def shut(loop: asyncio.AbstractEventLoop) -> None:
    """Closes a loop and the threads that it may have started to look names up."""
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
