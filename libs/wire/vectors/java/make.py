"""Makes avro.json and partition.json with the Java libraries of Avro and Kafka."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from jgo.env import EnvironmentBuilder
from jgo.maven import MavenContext, PythonResolver

HERE = Path(__file__).parent
LIBRARIES = "org.apache.avro:avro:1.12.0+org.apache.kafka:kafka-clients:4.3.1+org.slf4j:slf4j-simple:1.7.36"


def main() -> None:
    """Runs Vectors.java, which writes both files."""
    java = shutil.which("java")
    if java is None:
        raise SystemExit("No java on PATH: install a JDK, version 17 or later.")
    with tempfile.TemporaryDirectory() as scratch:
        context = MavenContext(repo_cache=Path(scratch) / "repo", resolver=PythonResolver())
        libraries = EnvironmentBuilder(context=context, cache_dir=Path(scratch)).from_endpoint(LIBRARIES)
        path = os.pathsep.join(map(str, libraries.all_jars))
        schemas = HERE.parents[1] / "livebalance/wire/schemas"
        subprocess.run([java, "-cp", path, HERE / "Vectors.java", schemas, HERE.parent], check=True)  # noqa: S603 - our own program


if __name__ == "__main__":
    main()
