"""The errors that mean Postgres cannot be asked now: transient. Any other one is a bug."""

import asyncpg

from livebalance.readmodel.gateway_reads import UnavailableError

TRANSIENT = (
    UnavailableError,
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,  # the connection is closed, or closing
    asyncpg.InternalClientError,  # or was ended while the driver was about to use it
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, terminated, cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, out of memory
    asyncpg.TransactionRollbackError,  # a standby that had to cancel it
    asyncpg.PostgresIOError,
    asyncpg.InvalidCatalogNameError,  # the database is not made yet
    asyncpg.InvalidAuthorizationSpecificationError,  # nor its roles
    asyncpg.UndefinedTableError,  # nor its tables
)
