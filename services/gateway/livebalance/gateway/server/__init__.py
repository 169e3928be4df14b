"""Below ASGI: HTTP request heads, WebSocket, TCP."""
