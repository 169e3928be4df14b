"""The Python client: `client.Client` connects, `session.Session` decides as a pure state machine."""
