"""The projection in Postgres: tables, migrations and queries; the one owner of the schema."""
