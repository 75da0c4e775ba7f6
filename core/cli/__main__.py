"""`python -m lamina.core.cli`."""

from lamina.core.cli.app import main

if __name__ == "__main__":
    main()
