"""From detection to undo in a real browser: nothing that is read is markup, and the keys never reach the workbench."""

import re
import subprocess
import sys

import pytest
from playwright.sync_api import expect

from tests.app.incident_shop import build
from tests.app.test_browser import EVIL, settled, watched
from tests.resolve.signing import KEYS, trust_file

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]


def key_file(folder, name):
    """The private key of a person, as they hold it."""
    from cryptography.hazmat.primitives import serialization

    file = folder / f"{name}.pem"
    kinds = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    file.write_bytes(KEYS[name].private_bytes(*kinds))
    file.chmod(0o600)
    return file


def test_from_detection_to_a_published_fix_and_its_undo(tmp_path, trained, serve, browser, monkeypatch):
    folder = build(tmp_path / "shop", trained, plant=EVIL)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.setenv("DIAGNOSIS_TRUSTED_KEYS", str(trust_file(tmp_path / "trust", publish_to=out)))
    page = browser.new_context(viewport={"width": 1300, "height": 1000}, accept_downloads=True).new_page()
    heard = watched(page)
    page.goto(serve(folder) + "/incidents?w=shop")
    page.get_by_role("button", name="Look now").click(timeout=60_000)
    page.get_by_text("feature price").first.wait_for(timeout=120_000)
    settled(page)
    page.get_by_role("button", name="Diagnose").first.click()
    page.wait_for_url(re.compile("/incident[?].*asked=1"), timeout=20_000)
    page.get_by_role("link", name="What can be done about it").first.click(timeout=90_000)
    page.wait_for_url(re.compile("/fix"), timeout=20_000)
    page.get_by_text("the best first").wait_for(timeout=90_000)
    cap = page.get_by_test_id("stNumberInputField").first
    cap.fill("100")
    cap.press("Enter")
    page.get_by_text("helps", exact=True).first.wait_for(timeout=90_000)
    settled(page)
    page.get_by_role("button", name="Prepare for signing").first.click()
    page.get_by_role("button", name="Prepare", exact=True).click()
    page.get_by_text("0 of 2 signatures").wait_for(timeout=30_000)
    expect(page.get_by_role("button", name="Publish")).to_be_disabled()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download the file to sign").click()
    file = tmp_path / "fix.json"
    download.value.save_as(file)
    for name in ("anna", "bo"):
        command = [
            sys.executable,
            "-m",
            "diagnosis",
            "hotfix",
            "sign",
            str(file),
            "--key",
            str(key_file(tmp_path / "trust", name)),
            "--yes",
        ]
        subprocess.run(command, check=True, capture_output=True)
    page.locator("input[type=file]").set_input_files(str(file))
    page.get_by_text("2 of 2 signatures").wait_for(timeout=30_000)
    page.get_by_role("button", name="Publish").click()
    page.get_by_text("Does the metric come back?").wait_for(timeout=60_000)
    (document,) = out.iterdir()
    assert b'"kind":"set_feature"' in document.read_bytes()
    settled(page)
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("Undone:").wait_for(timeout=30_000)
    assert b'"actions":[]' in document.read_bytes()
    again = browser.new_context(viewport={"width": 390, "height": 900}, color_scheme="dark").new_page()
    again.goto(page.url)
    again.get_by_text("Undone:").wait_for(timeout=60_000)
    settled(again)
    assert again.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
    assert page.evaluate("window.__pwned") is None
    assert heard == []
    expect(page.get_by_text("This part failed")).to_have_count(0)
