"""The README says what is so."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
COMMANDS = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines() if line.startswith("diagnosis ")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_exists_with_its_options(command):
    words = shlex.split(command)[1:]
    groups = ("models", "contract", "case", "share", "bench", "sampling", "hotfix")
    path = words[:2] if words[0] in groups else words[:1]
    out = subprocess.run([sys.executable, "-m", "diagnosis", *path, "--help"], capture_output=True, text=True, check=True).stdout
    for option in (w for w in words if w.startswith("--")):
        assert option in out


def test_the_test_command_is_the_one_that_ci_runs():
    assert "bash tests/all.sh" in TEXT
    assert "exec bash tests/all.sh" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_benchmarks_that_the_readme_names_are_there():
    named = re.findall(r"`python (tests/benchmarks/\w+\.py)", TEXT)
    assert len(named) >= 4
    assert all((ROOT / name).is_file() for name in named)


def test_the_project_speaks_of_itself_only():
    listed = subprocess.run(["git", "ls-files"], capture_output=True, text=True, cwd=ROOT, check=False).stdout.split()
    for name in (n for n in listed if n.endswith((".py", ".md", ".toml", ".sh", ".html"))):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"/(work|home|root)/[a-z.]", text), name
