"""A member of the tests' room, with a Python package. It does what member.js does.

    member.py BASE KIND        KIND is `websockets` or `aiohttp`
"""

import asyncio
import contextlib
import sys

import aiohttp
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from messages import messages

# Close codes of the server: the member comes back, or goes on to the echo.
COME_BACK, GO_ON = 4000, 4001

# The most bytes of a message to the echo.
BYTES_MAX = 300_000


class Closed(Exception):
    """The server has closed the connection with this code."""

    def __init__(self, code):
        super().__init__(f"closed with {code}")
        self.code = code


class Websockets:
    """A connection of the package `websockets`."""

    def __init__(self, socket):
        self._socket = socket
        self.send = socket.send

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(url):
        async with connect(url, max_size=None) as socket:
            yield Websockets(socket)

    async def receive(self):
        try:
            return await self._socket.recv()
        except ConnectionClosed as end:
            raise Closed(end.rcvd and end.rcvd.code) from end


class Aiohttp:
    """A connection of the package `aiohttp`."""

    def __init__(self, socket):
        self._socket = socket

    @staticmethod
    @contextlib.asynccontextmanager
    async def open(url):
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, compress=15, max_msg_size=0) as socket,
        ):
            yield Aiohttp(socket)

    async def send(self, message):
        is_text = isinstance(message, str)
        await (self._socket.send_str if is_text else self._socket.send_bytes)(message)

    async def receive(self):
        message = await self._socket.receive()
        if message.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
            raise Closed(self._socket.close_code)
        return message.data


async def member_ends(member, report):
    """Reports all messages of a member, and returns the close code."""
    try:
        while True:
            await report.send(await member.receive())
    except Closed as end:
        if end.code not in (COME_BACK, GO_ON):
            raise
        return end.code


async def echo_all(echo):
    for message in messages(BYTES_MAX):
        await echo.send(message)
        assert await echo.receive() == message, "the echo differs"


async def take_part(client, base, kind):
    async with client.open(f"{base}/report/{kind}") as report:
        try:
            code = COME_BACK
            while code == COME_BACK:
                async with client.open(f"{base}/member/{kind}") as member:
                    code = await member_ends(member, report)
            await report.send("the member has ended")
            async with client.open(f"{base}/echo/{kind}") as echo:
                await echo_all(echo)
            await report.send("all messages were echoed")
            with contextlib.suppress(Closed):
                await report.receive()
        except Exception as error:
            await report.send(f"failed: {error!r}")
            raise


def main(base, kind):
    client = {"websockets": Websockets, "aiohttp": Aiohttp}[kind]
    asyncio.run(take_part(client, base, kind))


main(*sys.argv[1:])
