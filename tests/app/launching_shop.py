"""A shop whose launches were forecast, for the tests of the app; one title is hostile."""

import pytest

from diagnosis.predict import keep, launches
from tests.app.shop import SECRET
from tests.predict.shop import PLANTED, go_on, open_shop

EVIL = "<img src=x onerror=alert(1)>`[a](http://e.vil)"


def build(folder):
    """Forecast on day eight and again at the end; the path of the workspace."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIAGNOSIS_SECRET", SECRET)
        bench = open_shop(folder, soon={**PLANTED, EVIL: ("lamp", 0.5, True)}, until=8.0)
        keep(bench, launches(bench, requests=200))
        bench = go_on(bench, 8.0)
        keep(bench, launches(bench, requests=200))
    return bench.workspace.path
