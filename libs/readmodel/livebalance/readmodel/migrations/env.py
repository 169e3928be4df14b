"""Alembic's environment: runs the migrations on the connection that `migrate` opened and locked."""

from alembic import context

from livebalance.readmodel.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
