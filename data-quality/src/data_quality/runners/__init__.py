"""Engines that carry out checks and suites, each answering in CheckResults."""
