"""From the start of the workbench to its first page, against an empty Streamlit app.

Run: ``python tests/benchmarks/start.py WORKSPACE``. Starts each in turn, opens it in Chromium, and prints one JSON document with medians
in seconds. The workspace must be built already (``diagnosis sample WORKSPACE``).
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 3


def free_port() -> int:
    """A port that nobody uses."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return int(held.getsockname()[1])


def seconds(browser, command: list[str], port: int, words: str) -> float:
    """From starting `command` to seeing `words` on its page."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    page = browser.new_page()
    try:
        while True:
            try:
                page.goto(f"http://127.0.0.1:{port}/", timeout=60_000, wait_until="commit")
                break
            except Exception:
                if time.perf_counter() - began > 60:
                    raise
                time.sleep(0.05)
        page.get_by_text(words).first.wait_for(timeout=60_000)
        return time.perf_counter() - began
    finally:
        page.close()
        process.terminate()
        process.wait()


def main() -> None:
    """Start in turn, print."""
    from playwright.sync_api import sync_playwright

    workspace = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as player:
        empty = Path(folder) / "empty.py"
        empty.write_text("import streamlit as st\nst.title('Nothing here')\n")
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"])
        ours, bare = [], []
        for _ in range(RUNS + 1):
            port = free_port()
            flags = ["--server.port", str(port), "--server.headless", "true", "--browser.gatherUsageStats", "false"]
            bare.append(seconds(browser, [sys.executable, "-m", "streamlit", "run", str(empty), *flags], port, "Nothing here"))
            port = free_port()
            command = [sys.executable, "-m", "diagnosis", "demo", "--workspace", str(workspace), "--port", str(port), "--headless"]
            ours.append(seconds(browser, command, port, "requests logged"))
        browser.close()
    ours, bare = ours[1:], bare[1:]  # the first of each warms the disk
    print(
        json.dumps(
            {
                "s": round(statistics.median(ours), 2),
                "empty_app_s": round(statistics.median(bare), 2),
                "allowed_s": round(1.5 * statistics.median(bare) + 1.0, 2),
                "ratio": round(statistics.median(a / b for a, b in zip(ours, bare, strict=True)), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
