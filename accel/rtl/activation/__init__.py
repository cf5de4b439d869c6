"""Behind the array: accumulators, threshold units, sums of logits."""
