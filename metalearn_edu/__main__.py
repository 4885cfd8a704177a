"""`python -m metalearn_edu` is the command `metalearn-edu`."""

from .cli import main

if __name__ == "__main__":
    main()
