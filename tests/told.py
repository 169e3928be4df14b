"""Settings as the environment of a process."""

from livebalance.runtime.environment import variable
from livebalance.runtime.settings import ServiceSettings
from livebalance.runtime.shape import written


def told(settings: ServiceSettings) -> dict[str, str]:
    """Those that are not as they are by default, secrets too."""
    found = settings.model_dump(exclude_defaults=True)
    return {variable(field): written(value) for field, value in found.items()}
