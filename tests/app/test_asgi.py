"""Headers, and what the workbench refuses to start on."""

import asyncio
import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from app import theme
from app.asgi import SecureHeaders, check, policy, workspace_paths
from app.launch import options
from diagnosis.errors import WorkspaceError
from diagnosis.store import Workspace


def answered(headers):
    """What a route that sends those headers is answered with behind the guard."""
    import httpx2

    async def route(request):
        return PlainTextResponse("hello", headers=headers)

    async def ask():
        guarded = SecureHeaders(Starlette(routes=[Route("/", route)]))
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=guarded), base_url="http://localhost") as client:
            return await client.get("/")

    return asyncio.run(ask())


def test_every_answer_carries_the_headers():
    got = answered({}).headers
    assert got["x-content-type-options"] == "nosniff"
    assert got["referrer-policy"] == "same-origin"
    assert got["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in got["content-security-policy"]


def test_stricter_headers_of_a_shared_page_stay():
    got = answered({"Content-Security-Policy": "default-src 'none'", "Referrer-Policy": "no-referrer"}).headers
    assert got.get_list("content-security-policy") == ["default-src 'none'"]
    assert got["referrer-policy"] == "no-referrer"


def test_no_inline_script_runs_but_those_named_by_digest():
    scripts = next(part for part in policy().split("; ") if part.startswith("script-src"))
    assert "unsafe-inline" not in scripts
    assert scripts.count("'sha256-") >= 2


def test_two_workspaces_with_one_id_are_refused(tmp_path):
    for name in ("a", "b"):
        Workspace.create(tmp_path / name, id="same")
    with pytest.raises(WorkspaceError, match="the id 'same'"):
        check([tmp_path / "a", tmp_path / "b"])


def test_what_is_no_workspace_is_refused_in_one_line(tmp_path):
    from os import environ

    command = [sys.executable, "-m", "app.launch", "--port", "1"]
    answer = subprocess.run(command, env={**environ, "DIAGNOSIS_WORKSPACES": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert answer.returncode == 2
    assert answer.stderr.startswith("diagnosis: ")
    assert "is not a workspace" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_workspaces_are_separated_as_in_path(monkeypatch):
    from os import pathsep

    monkeypatch.setenv("DIAGNOSIS_WORKSPACES", f"/a{pathsep}/b")
    assert [str(p) for p in workspace_paths()] == ["/a", "/b"]


def test_every_option_is_one_that_streamlit_knows():
    from streamlit import config

    config.get_config_options()
    unknown = [key for key in options("127.0.0.1", 8501) if key not in config._config_options_template]
    assert unknown == []


def test_both_themes_set_the_same_colours():
    light = {key.removeprefix("theme.light.") for key in theme.OPTIONS if key.startswith("theme.light.")}
    dark = {key.removeprefix("theme.dark.") for key in theme.OPTIONS if key.startswith("theme.dark.")}
    assert light == dark
    assert {"backgroundColor", "textColor", "primaryColor"} <= light


def luminance(colour):
    """Relative luminance of WCAG 2."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """Contrast ratio of WCAG 2."""
    bright, dim = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dim + 0.05)


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_text_and_the_marks_that_carry_meaning_stand_out(mode):
    ground = theme.OPTIONS[f"theme.{mode}.backgroundColor"]
    assert contrast(theme.OPTIONS[f"theme.{mode}.textColor"], ground) >= 7
    for colour in (theme.LOGGED, theme.REPLAYED, theme.UP, theme.DOWN):
        assert contrast(colour, ground) >= 3, colour
