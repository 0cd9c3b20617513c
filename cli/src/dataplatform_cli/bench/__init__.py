"""`dp bench`: what ingestion costs, beside its limit and its peers, all measured in one run on scratch servers."""

from dataplatform_cli.bench.ingest import SCENARIOS, bench_ingest, print_report

__all__ = ["SCENARIOS", "bench_ingest", "print_report"]
