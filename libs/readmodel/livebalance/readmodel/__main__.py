"""`python -m livebalance.readmodel`: migrate the database of LIVEBALANCE_POSTGRES_OWNER."""

import asyncio
import os

from livebalance.readmodel.migrate import migrate

if __name__ == "__main__":
    asyncio.run(migrate(os.environ["LIVEBALANCE_POSTGRES_OWNER"]))
