"""Settings as the environment of a process."""

from livebalance.runtime.config.environment import variable
from livebalance.runtime.config.settings import ServiceSettings
from livebalance.runtime.config.types import written


def told(settings: ServiceSettings) -> dict[str, str]:
    """Those that are not as they are by default, secrets too."""
    found = settings.model_dump(exclude_defaults=True)
    return {variable(field): written(value) for field, value in found.items()}
