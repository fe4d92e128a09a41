"""How a local system starts its own processes: `python -m fintokenx.app.cli`."""

from fintokenx.app.cli import main

main()
