"""Above ASGI: REST, statements, server-sent events, problems, OpenAPI, static files."""
