"""Each switch of the simulator is found by the kind of signal that it plants, and more of the same business by none.

The benchmark ``drift`` does this over twenty seeds.
"""

from pipelines.bench.drift import PLANTED, signals


def test_every_switch_is_found_by_its_signal_and_a_harmless_repeat_by_none(tmp_path):
    observed = dict(signals(tmp_path, seed=7, customers=2500))

    assert {name: found for name, found in observed.items() if name not in PLANTED} == {
        "first run": set(),
        "harmless repeat": set(),
    }
    assert {name: PLANTED[name] in observed[name] for name in PLANTED} == dict.fromkeys(PLANTED, True)
    # What changes the inputs alone changes neither the labels nor what they depend on.
    for name in ("correlation-shift", "broken-column", "segment-missing"):
        assert {signal for *_, signal in observed[name]} == {"input drift"}
    assert {signal for *_, signal in observed["label-shift"]} == {"label shift"}
    assert "input drift" not in {signal for *_, signal in observed["concept-drift"]}
