"""The projection in Postgres: its epoch, its lanes, and the batches that a projector writes."""
