"""Below ASGI: HTTP request heads, WebSocket connections, TCP."""
