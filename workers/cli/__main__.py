"""`python -m workers.cli`: the same command, where no console script is installed."""

from workers.cli import main

main(prog_name="towline")
