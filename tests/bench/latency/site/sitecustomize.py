"""Makes a service log its moments: Python imports this at its start if the folder is in PYTHONPATH."""

from tests.bench.latency import probe

probe.install()
