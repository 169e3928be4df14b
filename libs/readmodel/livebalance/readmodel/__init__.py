"""The projection in Postgres: its schema, and all statements that read and write it."""
