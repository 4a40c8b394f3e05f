"""Runs the Autobahn cases against an echo server, and prints a line for each: its number, how the
server behaved, and how it closed.

    python run.py PROGRAM [CASES…]

`CASES` are numbers or patterns, such as `12.*`; default: all but `LONG_CASES`. The program is
started with a port that the system chooses, compresses each message alone, and says where it listens.
"""

import asyncio
import subprocess
import sys

from kosoku import FailureError, run_fuzzingclient
from kosoku.cases import CASES

PASSED = {"OK", "INFORMATIONAL"}

# The last part of the number of the cases 12.* and 13.* that send 1,000 messages of 128 KiB. They take
# most of the time, and kosoku 0.1.0 cannot finish them, not even with the server of `websockets`.
LONG = [10, 15, 16, 17, 18]
LONG_CASES = [f"{group}.*.{last}" for group in (12, 13) for last in LONG]


def take_plain_answers():
    """An echo may answer a compressed message by a plain one, such as when compressing makes it
    longer. kosoku 0.1.0 passes plain messages as `str`, and its cases of compression hash bytes.
    """
    for number, case in CASES.items():
        if number.startswith(("12.", "13.")):
            case.onMessage = taking_text(case.onMessage)


def taking_text(on_message):
    def take(self, message, binary):
        if isinstance(message, str):
            message = message.encode("latin-1" if binary else "utf-8")
        return on_message(self, message, binary)

    return take


async def results_of(url, cases):
    try:
        return await run_fuzzingclient(url, cases or None, None if cases else LONG_CASES)
    except FailureError as failure:
        return failure.results


def report(result):
    behavior, closing = result.behavior.value, result.behavior_close.value
    print(result.case_id, behavior, closing)
    if not {behavior, closing} <= PASSED:
        print(f"{result.case_id}: {result.result} {result.result_close}", file=sys.stderr)


def main(program, *cases):
    take_plain_answers()
    command = [program, "--listen", "127.0.0.1:0", "--compression", "once"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().removeprefix("listening on ").strip()
            for result in asyncio.run(results_of(url, cases)):
                report(result)
            assert server.poll() is None, "the server has ended"
        finally:
            server.kill()


main(*sys.argv[1:])
