"""Triggers: what deferred tasks and asset watchers wait for, in Airflow's triggerer."""
