"""FORMATS.md says what the code reads: every column and key is named, and its examples are read."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from diagnosis.inputs.contracts import _KEYS, read_contracts
from diagnosis.log.sampling import read_sampling
from diagnosis.models.bundle import DTYPES, KINDS, Bundle, read_bundle
from diagnosis.models.stages import Stage
from diagnosis.reproduce import Workbench
from diagnosis.reproduce.circumstances import environments
from diagnosis.resolve.books import ACTIONS, COMPONENTS, playbook
from diagnosis.rules.ruleset import KINDS as RULES
from diagnosis.rules.ruleset import Rule, read_ruleset
from diagnosis.store import Workspace
from diagnosis.store.settings import Settings, read_settings
from diagnosis.store.tables import KNOWN, REQUIRED

FILE = Path(__file__).parents[1] / "diagnosis" / "FORMATS.md"
TEXT = FILE.read_text(encoding="utf-8")
BLOCKS = {m[1]: m[2] for m in re.finditer(r"```toml\n# ([^\n]+)\n(.*?)```", TEXT, re.DOTALL)}


def settings(model: type[BaseModel]):
    for name, field in model.model_fields.items():
        yield name
        for inner in re.findall(r"\b(\w+Settings)\b", str(field.annotation)):
            yield from settings(vars(__import__("diagnosis.store.settings", fromlist=[inner]))[inner])


def words():
    """Everything that the code reads by name."""
    yield from (column for table in (*REQUIRED.values(), *KNOWN.values()) for column in table)
    yield from settings(Settings)
    yield from _KEYS
    yield from set(Bundle.__dataclass_fields__) - {"folder"}
    yield from (set(Stage.__dataclass_fields__), set(Rule.__dataclass_fields__) - {"options"}, DTYPES, KINDS, RULES, COMPONENTS, ACTIONS)


def flat(found):
    for entry in found:
        yield from ([entry] if isinstance(entry, str) else entry)


def test_every_column_and_key_that_is_read_is_named():
    named = set(re.findall(r"[\w@=]+", TEXT))
    missing = sorted({word for word in flat(words()) if word not in named})
    assert missing == []


@pytest.mark.parametrize("name", sorted(set(REQUIRED) - {"requests", "candidates"}))
def test_every_small_table_has_a_row_with_its_columns(name):
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |"))
    assert all(f"`{column}`" in row for column in {**REQUIRED[name], **KNOWN[name]})


def test_the_settings_are_read_as_they_stand(tmp_path):
    (tmp_path / "diagnosis.toml").write_text(BLOCKS["diagnosis.toml"])
    told = tomllib.loads(BLOCKS["diagnosis.toml"])
    assert read_settings(tmp_path).model_dump(exclude_unset=True)["slos"][1]["tolerance"] == told["slos"][1]["tolerance"]
    assert set(told) == set(Settings.model_fields)


def test_contracts_rules_sampling_and_playbooks_are_read_as_they_stand(tmp_path):
    for name in ("features.toml", "ruleset.toml", "sampling.toml"):
        (tmp_path / name).write_text(BLOCKS[name])
    (tmp_path / "launches.toml").write_text("[launched]\ni8 = 2026-11-01T00:00:00Z\n")
    assert read_contracts(tmp_path / "features.toml")[0].parents == ("clicks_7d", "shown_7d")
    assert [rule.kind for rule in read_ruleset(tmp_path / "ruleset.toml").rules] == ["cap", "boost", "pin"]
    assert [stratum.unit for stratum in read_sampling(tmp_path / "sampling.toml").strata] == ["request", "member"]
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks" / "feature.toml").write_text(BLOCKS["playbook feature.toml"])
    assert playbook("feature", tmp_path)[0].action == "set_feature=last_good"


def test_a_manifest_and_environments_are_read_as_they_stand(tmp_path):
    folder = tmp_path / "shop" / "models" / "ranker" / "7"
    Workspace.create(tmp_path / "shop", id="shop")
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text(BLOCKS["model.toml"])
    assert read_bundle(folder).feature("kind").categories == ("lamp", "chair")
    (tmp_path / "shop" / "environments.toml").write_text(BLOCKS["environments.toml"])
    assert environments(Workbench.open(tmp_path / "shop"))["eu"]["sla_ms"] == {"homepage": 200, "search": 120}
