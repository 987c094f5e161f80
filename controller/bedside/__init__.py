"""The people at the bench: command socket, client, console. Local only, never the network."""
