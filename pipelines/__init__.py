"""The platform's pipelines: operators and sensors, the DAG factory, and the ingestion core they run."""
