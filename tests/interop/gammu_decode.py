"""Run by Debian's own Python: PDUs in hex on standard input, gammu's reading of each as JSON.

python3-gammu is built for the system's interpreter and cannot be imported by ours.
"""

from __future__ import annotations

import json
import sys

import gammu

for line in sys.stdin:
    try:
        read = gammu.DecodePDU(bytes.fromhex(line.strip()), True)
    except gammu.GSMError as error:
        print(json.dumps({"error": str(error.args[0].get("Text"))}))
        continue
    except UnicodeError as error:  # gammu hands lone surrogates to Python, which refuses them
        print(json.dumps({"error": str(error)}))
        continue
    text = read["Text"]
    header = read["UDH"]
    print(
        json.dumps(
            {
                "type": read["Type"],
                "number": read["Number"],
                "smsc": read["SMSC"]["Number"],
                "coding": read["Coding"],
                "text": text.hex().upper() if isinstance(text, bytes) else text,
                "class": read["Class"],
                "time": read["DateTime"].isoformat() if read["DateTime"] else None,
                "discharged": read["SMSCDateTime"].isoformat() if read["SMSCDateTime"] else None,
                "udh": header["Text"].hex().upper(),
                "id8": header["ID8bit"],
                "id16": header["ID16bit"],
                "part": header["PartNumber"],
                "parts": header["AllParts"],
                "status": read["DeliveryStatus"],
                "reference": read["MessageReference"],
                "reject_duplicates": read["RejectDuplicates"],
            }
        )
    )
