"""Write the generated documents: `docs/api` and the event schemas. With --check, say what is stale and change nothing.

The committed schema of an event is the baseline that its readers rely on: a change that breaks it is never written over
it. Whoever means to withdraw an event type deletes its schema by hand.
"""

import argparse
import sys

from tools.docs.apps import DuplicateOperation, Undocumented
from tools.docs.output import ROOT, api_files, breaking, event_files, stale


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools.docs", description=__doc__)
    parser.add_argument("--check", action="store_true", help="say what is stale, exit 1 if anything is")
    check = parser.parse_args().check
    broken = breaking()
    if broken:
        print("\n".join(broken), file=sys.stderr)
        return 1
    changed = False
    try:
        for rendered in (event_files, api_files):  # the API document reads the event schemas as they are committed
            files = rendered()
            for path in stale(files):
                changed = True
                print(f"{'stale' if check else 'written'}: {path.relative_to(ROOT)}")
                if not check:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(files[path])
    except (DuplicateOperation, Undocumented) as fault:
        print(fault, file=sys.stderr)
        return 1
    return int(check and changed)


if __name__ == "__main__":
    sys.exit(main())
