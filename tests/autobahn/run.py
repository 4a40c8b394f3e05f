"""Runs the Autobahn cases against an echo server, and prints a line for each: its number, how the
server behaved, and how it closed.

    python run.py PROGRAM

The program is started with a port that the system chooses, and says where it listens.
"""

import asyncio
import subprocess
import sys

from kosoku import FailureError, run_fuzzingclient

COMPRESSION = ["12.*", "13.*"]
PASSED = {"OK", "INFORMATIONAL"}


async def results_of(url):
    try:
        return await run_fuzzingclient(url, exclude_cases=COMPRESSION)
    except FailureError as failure:
        return failure.results


def report(result):
    behavior, closing = result.behavior.value, result.behavior_close.value
    print(result.case_id, behavior, closing)
    if not {behavior, closing} <= PASSED:
        print(f"{result.case_id}: {result.result} {result.result_close}", file=sys.stderr)


def main(program):
    command = [program, "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().removeprefix("listening on ").strip()
            for result in asyncio.run(results_of(url)):
                report(result)
            assert server.poll() is None, "the server has ended"
        finally:
            server.kill()


main(*sys.argv[1:])
