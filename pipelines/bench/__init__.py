"""``make bench``: what things cost, as ratios of two measurements made side by side in one run."""
