"""Runs the README's JavaScript in the consoles of two tabs: both tabs show the message of the second tab.

    consoles.py URL FILE.js
"""

import json
import pathlib
import sys

from webdriver import Browser

NOTE = "window.shown = []; console.log = text => shown.push(text);"


def main(url, file):
    script = NOTE + pathlib.Path(file).read_text()
    with Browser() as browser:
        first = browser.open(url)
        first.run(script)
        first.eventually(f"JSON.stringify(shown) === {json.dumps(json.dumps(['hello']))}")
        second = browser.open(url)
        second.run(script)
        first.eventually("shown.length === 2")
        second.eventually("shown.length === 1")
        shown = [tab.run("return shown") for tab in (first, second)]
    assert shown == [["hello", "hello"], ["hello"]], shown
    print(f"{url}: the consoles of two tabs show {shown}")


main(*sys.argv[1:])
