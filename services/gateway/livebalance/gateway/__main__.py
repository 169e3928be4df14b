"""Runs a gateway: `python -m livebalance.gateway`."""

from livebalance.gateway.app import serve
from livebalance.gateway.settings import Settings
from livebalance.runtime.process.run import main

if __name__ == "__main__":
    main(Settings, serve)
