"""Redis in: chooses nodes, subscribes, decodes messages."""
