"""How models are measured: metrics, intervals, slices, fairness, calibration, and money."""
