"""How scores became a page: rulesets before and after scoring."""

from diagnosis.rules.apply import Page, after, before
from diagnosis.rules.ruleset import Rule, Ruleset, list_rulesets, read_ruleset

__all__ = ["Page", "Rule", "Ruleset", "after", "before", "list_rulesets", "read_ruleset"]
