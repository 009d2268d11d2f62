"""``python -m embexp``: the same as the console script."""

from embexp.cli import main

if __name__ == "__main__":
    main()
