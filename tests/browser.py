"""A browser that tests drive: Chromium without a window, by its own protocol over pipes."""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import signal
import time
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium")
ALONE = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--remote-debugging-pipe",
)
"""A browser that talks to nobody but the pages that it is sent to, and to us, over descriptors 3 and 4:
https://chromedevtools.github.io/devtools-protocol/"""
PATIENCE_S = 60.0


class Browser:
    """A tab of the browser. What its pages say on the console, and what a policy kept them from, is in `said`."""

    def __init__(self, to_browser: int, from_browser: int) -> None:
        self._to, self._from = to_browser, from_browser
        self._held = b""
        self._number = 0
        self._session = ""
        self.said: list[str] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")
        self.urls: list[str] = []

    def do(self, method: str, **parameters: Any) -> Any:
        """Give an order, and return its result."""
        self._number += 1
        order: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._to, json.dumps(order).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, message["error"]
                return message["result"]
            self._hear(message)

    def go(self, url: str) -> None:
        """Load a page."""
        self.do("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def value(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.do("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression in the page is true."""
        end = time.monotonic() + PATIENCE_S
        while not self.value(f"!!({script})"):
            assert time.monotonic() < end, f"it never came true: {script}; {self.value('document.body.innerText')}"
            time.sleep(0.02)

    def press(self, selector: str) -> None:
        """Click an element with the mouse, as a user does."""
        box = self.value(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            " e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.do("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, selector: str, text: str) -> None:
        """Put a text into a field by the keyboard, in place of what it holds."""
        self.value(f"(() => {{ const e = document.querySelector({json.dumps(selector)}); e.focus(); e.select(); }})()")
        self.do("Input.insertText", text=text)

    def picture(self, path: Path, width: int, height: int = 900) -> None:
        """Write a picture of the whole page at this width."""
        self.do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        data = self.do("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        path.write_bytes(b64decode(data))

    def _message(self) -> Any:
        while b"\0" not in self._held:
            assert select.select([self._from], [], [], PATIENCE_S)[0], "the browser is silent"
            data = os.read(self._from, 1 << 20)
            assert data, "the browser has ended"
            self._held += data
        message, _, self._held = self._held.partition(b"\0")
        return json.loads(message)

    def _hear(self, message: Any) -> None:
        match message.get("method"), message.get("params"):
            case "Runtime.consoleAPICalled", {"args": args}:
                self.said.append(" ".join(str(each.get("value")) for each in args))
            case "Runtime.exceptionThrown", {"exceptionDetails": details}:
                self.said.append(str(details))
            case "Log.entryAdded", {"entry": {"text": text}}:
                self.said.append(text)
            case "Network.requestWillBeSent", {"request": {"url": url}}:
                self.urls.append(url)


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """Run a browser whose profile is in a folder. Skip the test where there is none."""
    if PROGRAM is None:
        pytest.skip("Chromium isn't installed: apt-get install chromium")
    ends = [*os.pipe(), *os.pipe()]
    theirs_in, to_browser, from_browser, theirs_out = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    log = os.open(folder.parent / "browser.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    for end in ends:
        os.close(end)
    wires = ((log, 1), (log, 2), (theirs_in, 3), (theirs_out, 4))
    process = os.posix_spawn(
        PROGRAM,
        [PROGRAM, *ALONE, f"--user-data-dir={folder}", "about:blank"],
        os.environ | {"HOME": str(folder.parent)},
        file_actions=[(os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in wires],
        setsid=True,
    )
    for end in (theirs_in, theirs_out, log):
        os.close(end)
    try:
        yield Browser(to_browser, from_browser)
    finally:
        os.close(to_browser)  # it ends when nobody gives orders any more
        os.close(from_browser)
        end = time.monotonic() + PATIENCE_S
        while not os.waitpid(process, os.WNOHANG)[0]:
            if time.monotonic() > end:
                os.killpg(process, signal.SIGKILL)
            time.sleep(0.05)
