"""`python -m tools.terraform prove | mutate [--only PART_OF_A_NAME] | document`."""

import sys


def main() -> int:
    match sys.argv[1:]:
        case ["prove"]:
            from tools.terraform import proof

            return proof.main()
        case ["mutate"]:
            from tools.terraform import mutate

            return mutate.main()
        case ["mutate", "--only", name]:
            from tools.terraform import mutate

            return mutate.only(name)
        case ["document"]:
            from tools.terraform import grants

            return grants.main()
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
