"""The forward process: noise schedules, their levels, what a network predicts, and noise as a pure function."""
