"""`python -m zssr`."""

from zssr.cli.main import run

if __name__ == "__main__":
    run()
