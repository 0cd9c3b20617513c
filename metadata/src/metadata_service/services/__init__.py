"""The rules of the service, on top of the repositories. Functions run inside the caller's transaction."""
