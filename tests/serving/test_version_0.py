"""A package that was registered before documents had a version is still served."""

from pathlib import Path

import pytest

from components.shared.documents.package_sample import PackageSample
from serving.release import ServedRelease

PACKAGE = Path(__file__).parents[1] / "version_0" / "package"


def test_a_package_of_version_0_answers_its_sample():
    release, sample = ServedRelease(PACKAGE, "churn", "1"), PackageSample.read(PACKAGE)
    columns = {name: [row[name] for row in sample.rows] for name in release.signature.names}

    scores = release.score(release.signature.encode(columns, len(sample.rows)))

    assert scores.tolist() == pytest.approx(list(sample.scores), abs=release.package.facts.tolerance)
    assert set(release.decide(scores)) <= {"0", "1"}
