"""Ids of runs, traces and spans, from a generator of their own: a pipeline that seeds `random` stays reproducible, and
its ids differ from run to run all the same."""

from __future__ import annotations

import random

from data_lineage_hub_sdk.forks import at_fork

# Not `os.urandom` each time: where system calls are slow (gVisor), that alone takes most of a call's time.
_random = random.Random()  # noqa: S311  ids need to be unique, not secret
at_fork(in_child=_random.seed)

jitter = _random.uniform


def new_run_id(nanoseconds: int) -> str:
    """Return a UUID version 7 (RFC 9562): sorted by time, random for the rest."""
    digits = f"{nanoseconds // 1_000_000:012x}{_random.getrandbits(80):020x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-7{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:32]}"


def new_bits(bits: int) -> int:
    """Return a random number of so many bits, not 0."""
    return _random.getrandbits(bits) or 1
