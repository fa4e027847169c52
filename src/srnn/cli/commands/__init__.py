"""What the commands of the command line do, one file each: `run(args)` returns the exit code.

Orchestration only.
"""
