"""What the tests of several steps share."""

import pytest

# Its asserts explain themselves, although it is no test module.
pytest.register_assert_rewrite("tests.components.drift_contract")
