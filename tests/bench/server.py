"""A small OpenAI-compatible server for benches: one fixed answer of about 8 kB after a delay.

    python tests/bench/server.py PORT [DELAY_S]

It spends as little CPU as it can, so that the client is what is measured.
"""

import asyncio
import json
import sys

ANSWER = {
    "id": "x",
    "object": "chat.completion",
    "created": 1,
    "model": "deepseek-r1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {
                "role": "assistant",
                "reasoning_content": "Let me think step by step about this problem. " * 180,
                "content": "The answer is \\boxed{42}.",
            },
        }
    ],
    "usage": {"prompt_tokens": 60, "completion_tokens": 2000, "total_tokens": 2060},
}
BODY = json.dumps(ANSWER).encode()
RESPONSE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY


class Connection(asyncio.Protocol):
    """One kept-alive connection."""

    delay_s = 0.05

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.received = transport, b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            head = self.received[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n")[0]) if at >= 0 else 0
            if len(self.received) < end + 4 + length:
                return
            self.received = self.received[end + 4 + length :]
            asyncio.get_running_loop().call_later(self.delay_s, self.answer)

    def answer(self) -> None:
        if not self.transport.is_closing():
            self.transport.write(RESPONSE)


async def main(port: int, delay_s: float) -> None:
    Connection.delay_s = delay_s
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else 0.05))
