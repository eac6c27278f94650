"""What sampling made before its redesign, call by call: `record` runs the calls, `compare` compares two records.

    python -m tests.frozen record before.npz            # with the kvdiff of this checkout
    python -m tests.frozen compare before.npz after.npz # bit for bit, but for what intended.json lists

`adapter` holds every name of kvdiff that is used here, `calls` the table of calls, and `recorded.npz` what they made.
"""
