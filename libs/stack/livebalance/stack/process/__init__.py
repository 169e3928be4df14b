"""Child processes of the stack, and what supervises them."""
