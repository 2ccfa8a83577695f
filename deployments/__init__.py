"""What starts a flow: the command line and servers. No logic."""
