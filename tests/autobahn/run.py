"""Runs the Autobahn cases against an echo server, and prints a line for each: its number, how the
server behaved, and how it closed.

    python run.py PROGRAM [--long] [CASES…]

`CASES` are numbers or patterns, such as `12.*`. Default: all but the large ones (`LARGE`); with `--long`, the large
ones as well. The program is started with a port that the system chooses, compresses each message alone, and says where
it listens.
"""

import asyncio
import subprocess
import sys

from kosoku import FailureError, run_fuzzingclient
from kosoku.cases import CASES

PASSED = {"OK", "INFORMATIONAL"}

# The last parts of the numbers of cases 12.* and 13.*. The large cases send 1,000 messages of 32 or 64 KiB, and take
# more than half of the time.
LARGE = [8, 9, 13, 14]
# These send 1,000 messages of 128 KiB. kosoku 0.1.0 cannot finish them, not even with the server of `websockets`.
ENDLESS = [10, 15, 16, 17, 18]

# The cases that run at the same time. Many wait for a timeout.
CONCURRENCY = 4


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


def compression_cases(lasts):
    return [f"{group}.*.{last}" for group in (12, 13) for last in lasts]


async def results_of(url, arguments):
    if arguments == ["--long"]:
        cases, left_out = None, compression_cases(ENDLESS)
    else:
        cases = arguments or None
        left_out = None if cases else compression_cases(LARGE + ENDLESS)
    try:
        return await run_fuzzingclient(url, cases, left_out, CONCURRENCY)
    except FailureError as failure:
        return failure.results


def report(result):
    behavior, closing = result.behavior.value, result.behavior_close.value
    print(result.case_id, behavior, closing)
    if not {behavior, closing} <= PASSED:
        print(f"{result.case_id}: {result.result} {result.result_close}", file=sys.stderr)


def main(program, *arguments):
    take_plain_answers()
    command = [program, "--listen", "127.0.0.1:0", "--compression", "once"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().removeprefix("listening on ").strip()
            for result in asyncio.run(results_of(url, list(arguments))):
                report(result)
            assert server.poll() is None, "the server has ended"
        finally:
            server.kill()


main(*sys.argv[1:])
