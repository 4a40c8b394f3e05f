"""Two clients of the chat of the README, by the package `websockets`: Ben gets what Ann sends.

    clients.py URL [URL]          the second URL is Ben's, where he is at another node

For `wss://`, the environment's SSL_CERT_FILE names the authority.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect

# Seconds that anything may take: the machine may be busy.
DEADLINE = 60


async def main(anns, bens):
    async with asyncio.timeout(DEADLINE), connect(anns) as ann, connect(bens) as ben:
        # He is a member of the room as soon as he hears himself.
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
    """Until both nodes have found each other, what is sent to one of them does not come to the other."""
    hearing = asyncio.create_task(ben.recv())
    while not (await asyncio.wait([hearing], timeout=0.1))[0]:
        await ann.send(json.dumps("hello, Ben"))
    assert json.loads(hearing.result()) == "hello, Ben"


asyncio.run(main(sys.argv[1], sys.argv[-1]))
