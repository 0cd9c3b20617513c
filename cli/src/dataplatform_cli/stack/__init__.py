"""The local stack: the platform's services from wheels, without Docker, under supervisor."""
