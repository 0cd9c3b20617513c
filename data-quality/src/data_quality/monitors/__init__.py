"""Monitors: they need no set-up, learn from the past what is usual, and say what is not, and why they think so."""

from __future__ import annotations

from data_quality.monitors.watch import watch

__all__ = ["watch"]
