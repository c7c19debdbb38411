"""`python3 -m benchmarks.profile`. Light: the processes of measured handlers import this module again."""

if __name__ == "__main__":
    import sys

    from benchmarks.profile.main import main

    sys.exit(main())
