"""Drives Chromium through chromedriver (W3C WebDriver), with Python's standard library alone."""

import base64
import json
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

# The most seconds that a step may take: the machine may be busy.
DEADLINE = 60

ENTER = "\ue007"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

_ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Containers often have a tiny /dev/shm.
    "--disable-dev-shm-usage",
    # If the driver is killed, the pipe breaks, and the browser ends.
    "--remote-debugging-pipe",
]


def eventually(attempt):
    """Repeats the attempt until its result is true, and returns the result."""
    deadline = time.monotonic() + DEADLINE
    while not (result := attempt()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {DEADLINE} s")
        time.sleep(0.02)
    return result


class Browser:
    """A context manager that ends the browser and its driver on exit, and deletes their files."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="roomcast-browser-", ignore_cleanup_errors=True)
        environment = {**os.environ, "TMPDIR": self._folder.name}
        self._driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True, env=environment
        )
        try:
            for line in self._driver.stdout:
                if "started successfully on port " in line:
                    port = line.rsplit(" ", 1)[1].strip().rstrip(".")
                    break
            else:
                raise RuntimeError("chromedriver does not start")
            self._url = f"http://127.0.0.1:{port}/session"
            options = {"args": [*_ARGUMENTS, f"--user-data-dir={self._folder.name}/profile"]}
            wanted = {"alwaysMatch": {"goog:chromeOptions": options}}
            self._url += "/" + self._call("POST", "", {"capabilities": wanted})["sessionId"]
        except BaseException:
            self._stop()
            raise
        self._is_fresh = True
        return self

    def __exit__(self, *_):
        try:
            self._call("DELETE", "")
        finally:
            self._stop()

    def _stop(self):
        self._driver.terminate()
        self._driver.wait()
        self._folder.cleanup()

    def open(self, url):
        """Opens a page in a new window; the first page opens in the browser's first window."""
        if not self._is_fresh:
            handle = self._call("POST", "/window/new", {"type": "window"})["handle"]
            self._call("POST", "/window", {"handle": handle})
        self._is_fresh = False
        tab = Tab(self, self._call("GET", "/window"))
        self._call("POST", "/url", {"url": url})
        return tab

    def _call(self, method, path, body=None):
        data = None if method in ("GET", "DELETE") else json.dumps(body or {}).encode()
        request = urllib.request.Request(self._url + path, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(json.load(error)["value"]["message"]) from error


class Tab:
    def __init__(self, browser, handle):
        self._browser, self._handle = browser, handle

    def _call(self, method, path, body=None):
        self._browser._call("POST", "/window", {"handle": self._handle})
        return self._browser._call(method, path, body)

    def run(self, script):
        """Runs a script, and returns its result."""
        return self._call("POST", "/execute/sync", {"script": script, "args": []})

    def eventually(self, expression):
        """Waits until a JavaScript expression is true."""
        return eventually(lambda: self.run(f"return {expression}"))

    def type(self, selector, text):
        """Types text into an element, like a keyboard."""
        found = self._call("POST", "/element", {"using": "css selector", "value": selector})
        self._call("POST", f"/element/{found[_ELEMENT]}/value", {"text": text})

    def set_size(self, width, height, scale):
        """Sets the size of the page in CSS pixels, and the pixels of a screenshot for each CSS pixel."""
        size = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        command = {"cmd": "Emulation.setDeviceMetricsOverride", "params": size}
        self._call("POST", "/goog/cdp/execute", command)

    def screenshot(self):
        """Returns a screenshot of the page, as a PNG."""
        return base64.b64decode(self._call("GET", "/screenshot"))
