"""The house: what is shipped, what is documented, what is not imported at start."""

import importlib
import inspect
import pkgutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import diagnosis

ROOT = Path(__file__).parents[1]
ROOMS = (
    "errors",
    "estimate",
    "log",
    "store",
    "models",
    "rules",
    "metrics",
    "reproduce",
    "inputs",
    "internals",
    "localize",
    "predict",
    "detect",
    "resolve",
    "cases",
    "testing",
)


def modules():
    names = [m.name for m in pkgutil.walk_packages(diagnosis.__path__, "diagnosis.")]
    return [n for n in names if ".migrations" not in n and not n.endswith("__main__")]


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_name_is_documented(room):
    module = importlib.import_module(f"diagnosis.{room}")
    assert module.__doc__
    for name in getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")]):
        thing = getattr(module, name)
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__.startswith("diagnosis"):
            assert inspect.getdoc(thing), f"{room}.{name}"


def test_every_module_says_what_it_is_for():
    for name in modules():
        assert importlib.import_module(name).__doc__, name


def test_importing_the_library_imports_nothing_heavy():
    rooms = "; ".join(f"import diagnosis.{room}" for room in ROOMS)
    code = f"import sys; {rooms}; heavy = {{'shap', 'lightgbm', 'sklearn', 'scipy', 'streamlit', 'vl_convert', 'alembic', 'skops'}} & set(sys.modules); assert not heavy, heavy"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_the_wheel_holds_what_the_app_needs(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        "app/main.py",
        "app/icon.png",
        "app/style.css",
        "diagnosis/cases/templates/page.html",
        "diagnosis/resolve/playbooks/feature.toml",
        "diagnosis/store/migrations/env.py",
        "diagnosis/store/migrations/versions/0001_first.py",
        "sample_data/command.py",
    }
    assert wanted <= held
    assert not any(name.startswith("tests/") for name in held)
