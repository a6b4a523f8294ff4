"""`python -m npconv`: the same as the command `npconv`."""

from npconv.cli import main

if __name__ == "__main__":
    main()
