"""Java's cache of Kafka's classes: with it, a broker starts in half the time (JEP 483).

`python -m livebalance.stack.servers.kafka_classes` writes it. The cache is beside the jars. Its name has the
version of Java, and `jars.fetch` deletes it when a jar changes. Java compares it with its own build, and with
the size and the time of each jar. It runs without a cache that does not match.
"""

import os
import shutil
import sys
from pathlib import Path

from livebalance.stack.build import jars
from livebalance.stack.errors import StackError
from livebalance.stack.paths import StatePaths
from livebalance.stack.servers.kafka import KafkaServer

_WRITE_SECONDS = 120.0


def write(home: Path) -> None:
    """Writes the cache, unless there is one: runs a broker of its own once.

    Raises:
        StackError: the broker did not start, or Java wrote no cache.
    """
    cache = jars.class_cache(home / "jars")
    if cache.exists():
        return
    paths = StatePaths(home, home / f"kafka-classes-{os.getpid()}")
    broker = KafkaServer(paths)
    try:
        broker.prepare()
        part = paths.state / cache.name
        broker.child.command = broker.command(f"-XX:AOTCacheOutput={part}")
        broker.start()
        broker.ready()
        broker.child.stop(_WRITE_SECONDS)  # Java writes the cache when it ends
        if not part.exists():
            raise broker.child.error("wrote no cache of its classes")
        part.rename(cache)
    finally:
        broker.child.kill()
        shutil.rmtree(paths.state, ignore_errors=True)


if __name__ == "__main__":
    try:
        write(StatePaths.from_environment().home)
    except StackError as error:
        sys.exit(str(error))
