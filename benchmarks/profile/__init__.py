"""scripts/profile: what handler types and service variants cost on this machine, and how accurate they are.

    handler types ─▶ costs of handlers (a process each) ─┐
    variants ─▶ one running node ─▶ costs, accuracy ─────┴▶ run/profile.json ─▶ config/*.json ─▶ table and picture

run/profile.json keeps what was measured today, so that a run that was cut off goes on where it ended. The table and
the picture are made of config/*.json alone.
"""
