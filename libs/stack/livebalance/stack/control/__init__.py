"""What the page may do to the demo: kill a gateway, and write transfers."""
