"""The table of docs/performance.md, by `python -m anglos bench --device cuda`, cells in the order of worth.

CELLS=0,1 takes the first two.
"""

import os
from dataclasses import asdict, replace

from figures import CLOCK, DEVICE, DRY, FILE, in_time, say

from anglos.tools.bench.device import measure
from anglos.tools.bench.device_report import table
from anglos.tools.bench.problem import Problem

WORTH = [
    (1024, 50_000, 512, "bfloat16"), (256, 50_000, 512, "bfloat16"), (8192, 50_000, 512, "bfloat16"),
    (1024, 300_000, 512, "bfloat16"), (8192, 1000, 512, "bfloat16"), (1024, 50_000, 512, "amp"),
    (1024, 50_000, 512, "tf32"), (1024, 50_000, 512, "float32"), (1024, 1_000_000, 512, "bfloat16"),
    (1024, 50_000, 128, "bfloat16"),
    (256, 50_000, 512, "amp"), (256, 50_000, 512, "tf32"), (256, 50_000, 512, "float32"), (8192, 50_000, 512, "amp"),
    (8192, 50_000, 512, "tf32"), (8192, 300_000, 512, "bfloat16"), (8192, 50_000, 512, "float32"),
    (1024, 1_000_000, 512, "amp"), (1024, 1_000_000, 512, "tf32"), (1024, 50_000, 512, "float16")]

chosen = [int(cell) for cell in os.environ.get("CELLS", "").split(",") if cell] or range(len(WORTH))
problems = [Problem("arcface", batch, dimension, classes, dtype) for batch, classes, dimension, dtype in map(
    WORTH.__getitem__, chosen)]
rows = []
try:
    for problem in problems:
        if DRY:
            problem = replace(problem, batch=16, dimension=32, classes=64)
        if not in_time():
            break
        for row in measure(problem, CLOCK):
            say(**asdict(row))
            rows.append(row)
finally:  # of what there is, however it ended
    text = table(rows, DEVICE, CLOCK.repeats)
    print(text)
    FILE.with_suffix(".txt").write_text(text)
