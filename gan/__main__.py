"""Makes `python -m gan` the same as `gan`."""

from gan.cli import main

main()
