"""`python -m appliance`. Kept empty-ish: spawn imports this module again in every worker."""

import sys

if __name__ == "__main__":
    from appliance.commands import main

    sys.exit(main())
