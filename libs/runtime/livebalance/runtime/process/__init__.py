"""Starting, probing and stopping a process."""
