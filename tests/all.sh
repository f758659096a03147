#!/usr/bin/env bash
# Everything that must hold: a fresh virtual environment, style, types, the direction of imports, tests, the browser.
set -euo pipefail
cd "$(dirname "$0")/.."

environment="${VENV:-.venv-test}"
[ -x "$environment/bin/python" ] || python3 -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[test]'

if ! command -v chromium >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null
fi
command -v chromium >/dev/null || echo "The browser tests need Chromium: apt-get install chromium" >&2

run() { echo "── $*"; "$environment/bin/$@"; }
run ruff check .
run ruff format --check --quiet .
run mypy
run lint-imports --no-cache
run python -m pytest -n 2 "$@"
