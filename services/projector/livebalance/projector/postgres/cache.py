"""What was written last, kept so that the next batch need not read it again."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `size` values; the longest unused go first. Cleared whenever an owner may have changed."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[K, V] = OrderedDict()

    def known(self, keys: Iterable[K]) -> dict[K, V]:
        """Those of `keys` that are here."""
        return {key: value for key in keys if (value := self._values.get(key)) is not None}

    def keep(self, values: Mapping[K, V]) -> None:
        for key, value in values.items():
            self._values[key] = value
            self._values.move_to_end(key)
        while len(self._values) > self._size:
            self._values.popitem(last=False)

    def clear(self) -> None:
        self._values.clear()
