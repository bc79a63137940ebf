"""An upstream that answers every request at once with the same completion; it runs in a pod of the sandbox.

Standard library only: the pod's image is LiteLLM's, and this file all that it is given. It speaks as much of HTTP/1.1 as
the proxy and the load generator do: one request at a time per connection, with a Content-Length.
"""

from __future__ import annotations

import asyncio
import json
import re

PORT = 8080
_MESSAGE = {"role": "assistant", "content": "pong"}
_BODY = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1,
        "model": "pong",
        "choices": [{"index": 0, "message": _MESSAGE, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
).encode()
_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(_BODY),
    _BODY,
)


class Connection(asyncio.Protocol):
    """One connection, for as many requests as come."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, ended, body = self._received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        if ended and len(body) >= int(length[1] if length else 0):
            self._received = b""
            self._transport.write(_ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "0.0.0.0", PORT)  # noqa: S104
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
