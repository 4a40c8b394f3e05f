"""Two clients of the README's chat, with the package `websockets`: Ben receives the message that Ann sends.

    clients.py URL [URL]          the second URL is Ben's, if he connects to another node

For `wss://`, the environment variable SSL_CERT_FILE names the file of the certificate authority.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect

# The most seconds for the whole run: the machine may be busy.
DEADLINE = 60


async def main(anns, bens):
    async with asyncio.timeout(DEADLINE), connect(anns) as ann, connect(bens) as ben:
        # Ben is a member of the room as soon as he receives his own message.
        await ben.send(json.dumps("ready"))
        await heard(ben, "ready")
        if anns == bens:
            await ann.send(json.dumps("hello, Ben"))
            await heard(ben, "hello, Ben")
        else:
            await say_until_heard(ann, ben)
    print(f"{anns} -> {bens}: what Ann sends, Ben receives")


async def heard(client, expected):
    text = json.loads(await client.recv())
    assert text == expected, f"{text!r}, not {expected!r}"


async def say_until_heard(ann, ben):
    """Ann repeats her message: until the nodes have found each other, messages do not reach the other node."""
    hearing = asyncio.create_task(ben.recv())
    while not (await asyncio.wait([hearing], timeout=0.1))[0]:
        await ann.send(json.dumps("hello, Ben"))
    assert json.loads(hearing.result()) == "hello, Ben"


asyncio.run(main(sys.argv[1], sys.argv[-1]))
