"""Configuration of the pipelines: settings from the environment, connections and pools as data."""
