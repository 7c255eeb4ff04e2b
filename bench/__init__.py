"""Repeatable benchmarks: each prints what it measured beside a floor measured in the same run.

python -m bench                  all of them
python -m bench start chain      some
python -m bench --json           as one JSON object
"""
