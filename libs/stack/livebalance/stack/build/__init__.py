"""What the stack downloads and builds: jars, Node, the page."""
