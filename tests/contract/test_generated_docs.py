"""The generated pages of docs/ are up to date; `make docs` generates them."""

import pytest

from livebalance.runtime.config.environment import service_settings
from livebalance.runtime.config.settings import ServiceSettings
from scripts.docs import PAGES, PROJECT


@pytest.mark.parametrize("name", PAGES)
def test_generated_page_matches_the_code(name: str) -> None:
    assert (PROJECT / "docs" / name).read_text() == PAGES[name](), "run `make docs`"


def test_every_setting_has_a_description() -> None:
    shared = ServiceSettings.model_fields
    for kind in service_settings().values():
        for field, info in kind.model_fields.items():
            assert info.description or shared[field].description, field
