"""Settings as environment variables, for the processes that tests start."""

from livebalance.runtime.config.environment import variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import environment_text


def environment_of(settings: ServiceSettings) -> dict[str, str]:
    """Returns the variables of the settings that differ from their defaults, including secrets."""
    changed = settings.model_dump(exclude_defaults=True)
    return {variable(field): environment_text(value) for field, value in changed.items()}
