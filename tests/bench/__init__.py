"""The benchmarks: real servers, ratios within one run, CPU time and peak memory of each process."""
