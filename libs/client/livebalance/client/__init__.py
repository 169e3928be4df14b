"""The client of the socket: a machine (`session`) that decides, a shell (`client`) that acts."""
