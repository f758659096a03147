"""A small workspace, a running workbench, and a browser that looks at it."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from shutil import which

import pytest

from tests.app import incident_shop
from tests.app.shop import SECRET, build

CHROMIUM = which("chromium") or which("chromium-browser")
NEEDED = "the browser tests need Chromium: apt-get install chromium"


def _served(built, folder, monkeypatch):
    """A copy of a workspace, as the one that the app serves."""
    import streamlit as st

    shutil.copytree(built, folder)
    monkeypatch.setenv("DIAGNOSIS_SECRET", SECRET)
    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", str(folder))
    st.cache_resource.clear()
    return folder


@pytest.fixture(scope="session")
def _built(tmp_path_factory, trained):
    """The shop, built and admitted once."""
    return build(tmp_path_factory.mktemp("built") / "shop", trained)


@pytest.fixture
def shop(_built, tmp_path, monkeypatch):
    """A shop of the test's own, served to the app."""
    return _served(_built, tmp_path / "shop", monkeypatch)


@pytest.fixture(scope="session")
def _built_incident(tmp_path_factory, trained):
    """The shop with an incident, built and admitted once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", SECRET)
        return incident_shop.build(tmp_path_factory.mktemp("built") / "incident", trained)


@pytest.fixture
def troubled(_built_incident, tmp_path, monkeypatch):
    """A shop with an incident, the test's own, served to the app."""
    return _served(_built_incident, tmp_path / "troubled", monkeypatch)


@pytest.fixture
def serve():
    """Starts the workbench on workspaces; gives its address. Stopped at the end."""
    running = []

    def start(*workspaces, options=()):
        with socket.socket() as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
        command = [sys.executable, "-m", "diagnosis", "serve", *map(str, workspaces), "--headless", "--port", str(port), *options]
        running.append(subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                return f"http://127.0.0.1:{port}"
            except OSError:
                time.sleep(0.1)
        raise AssertionError("the workbench did not start")

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.fixture
def browser():
    """Headless Chromium; under CI a missing one fails."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            pytest.fail(NEEDED)
        pytest.skip(NEEDED)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        started = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield started
        started.close()
