"""A client of the package `websockets` against an echo, with all parameters of permessage-deflate.

    settings.py URL

Each connection settles other parameters, and sends messages of many sizes, whole and in fragments. The echo compresses
each message alone.
"""

import asyncio
import sys

from websockets.asyncio.client import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from messages import messages

# The most seconds for the whole run: the machine may be busy.
DEADLINE = 120

SETTINGS = [
    {},
    {"client_max_window_bits": True},
    {"client_max_window_bits": 9},
    {"server_max_window_bits": 9},
    {"server_max_window_bits": 15, "client_max_window_bits": 15},
    {"server_no_context_takeover": True, "client_no_context_takeover": True},
    {"compress_settings": {"level": 0}},
    {"compress_settings": {"level": 9, "memLevel": 1}},
]

# The most bytes of a message.
BYTES_MAX = 1_000_000


async def echoed(client, sent, expected):
    await client.send(sent)
    assert await client.recv() == expected, f"{len(expected)} bytes"


async def run(url, settings):
    factory = ClientPerMessageDeflateFactory(**settings)
    async with connect(url, extensions=[factory], compression=None, max_size=None) as client:
        (extension,) = client.protocol.extensions
        assert extension.local_no_context_takeover, extension
        for message in messages(BYTES_MAX):
            await echoed(client, message, message)
            parts = [message[at:at + 100_000] for at in range(0, len(message), 100_000)]
            if parts:
                await echoed(client, parts, message)
    print(f"{extension}: all messages are echoed")


async def main(url):
    async with asyncio.timeout(DEADLINE):
        for settings in SETTINGS:
            await run(url, settings)


asyncio.run(main(*sys.argv[1:]))
