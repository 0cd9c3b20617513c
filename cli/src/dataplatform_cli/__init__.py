"""dp: the one command line of the platform, and the local stack it runs."""
