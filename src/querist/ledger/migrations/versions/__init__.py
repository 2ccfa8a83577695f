"""One file a version of the tables. Never changed once released."""
