"""Transient Postgres errors: the statement may succeed later. Any other error is a bug.

The gateway uses `TRANSIENT`. The projector adds its own errors to `SERVER_TRANSIENT` (`projector/errors.py`).
"""

import asyncpg

from livebalance.readmodel.gateway_reads import UnavailableError

SERVER_TRANSIENT = (
    asyncpg.InterfaceError,  # the connection is closed, or closing
    asyncpg.InternalClientError,  # the connection ended while the driver was about to use it
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, terminated, cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, out of memory, disk full
    asyncpg.TransactionRollbackError,  # deadlock, or a standby cancelled the statement
    asyncpg.PostgresIOError,
)

TRANSIENT = (
    *SERVER_TRANSIENT,
    UnavailableError,
    OSError,
    TimeoutError,
    asyncpg.InvalidCatalogNameError,  # the database does not exist yet
    asyncpg.InvalidAuthorizationSpecificationError,  # the role does not exist yet
    asyncpg.UndefinedTableError,  # the schema is not migrated yet
)
