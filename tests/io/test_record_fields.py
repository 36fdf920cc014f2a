"""Fields of records: a class's own before those that it inherits, in results and in commands."""

from __future__ import annotations

from dataclasses import dataclass

from audiosae_steer.analyse import ProbeSettings, PropertySettings
from audiosae_steer.analyse.frame.provenance import provenance
from audiosae_steer.io.record_fields import own_first

SHARED = ["share", "min_frames", "min_clips", "draws", "permutations", "seed"]


@dataclass(kw_only=True)
class Below:
    low: int = 0
    lower: int = 0


@dataclass(kw_only=True)
class Above(Below):
    high: int = 0
    low: int = 1


def test_own_fields_come_first_and_those_named_again_stay_with_the_inherited():
    assert [field.name for field in own_first(Above)] == ["high", "low", "lower"]
    assert [field.name for field in own_first(Below)] == ["low", "lower"]


def test_results_have_settings_in_the_order_that_they_always_had():
    for kind, first in ((ProbeSettings, "ks"), (PropertySettings, "properties")):
        names = list(provenance(settings=kind(), seed=0).settings)
        assert (names[0], names[-6:]) == (first, SHARED)
