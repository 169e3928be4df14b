"""Every byte that crosses a process."""
