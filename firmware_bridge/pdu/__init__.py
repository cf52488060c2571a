"""The SMS formats of TS 23.038 and TS 23.040, as pure functions and frozen values.

Nothing here does I/O or reads a clock. Decoders raise PduDecodeError and nothing else; encoders
raise UsageError for what the standard cannot carry.
"""

from __future__ import annotations

from firmware_bridge.errors import PduDecodeError, UsageError
from firmware_bridge.pdu.address import Address
from firmware_bridge.pdu.deliver import Deliver
from firmware_bridge.pdu.folding import Folded, fold_to_gsm7
from firmware_bridge.pdu.segmentation import Segments, assemble, delivers, segment, submits
from firmware_bridge.pdu.status_report import StatusReport
from firmware_bridge.pdu.submit import Submit
from firmware_bridge.pdu.tp_dcs import DataCoding, Encoding, data_coding, dcs_for
from firmware_bridge.pdu.tp_scts import Scts, decode_scts
from firmware_bridge.pdu.tp_status import StatusClass, status_class, status_text
from firmware_bridge.pdu.tp_vp import EnhancedValidity, Validity
from firmware_bridge.pdu.user_data_header import Concat, InformationElement, parse_header

__all__ = [
    "Address",
    "Concat",
    "DataCoding",
    "Deliver",
    "Encoding",
    "EnhancedValidity",
    "Folded",
    "InformationElement",
    "PduDecodeError",
    "Scts",
    "Segments",
    "StatusClass",
    "StatusReport",
    "Submit",
    "UsageError",
    "Validity",
    "assemble",
    "data_coding",
    "dcs_for",
    "decode_scts",
    "delivers",
    "fold_to_gsm7",
    "parse_header",
    "segment",
    "status_class",
    "status_text",
    "submits",
]
