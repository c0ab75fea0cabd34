"""A teacher's next-token distributions on kept traces, compressed: takes rows of log-probabilities a trace at a time,
gives them back by the trace's id.

    N  positions (completion tokens, in order, the end-of-sequence token included)      K  columns (padded)

A folder holds `signals.bin` (a head, then one record a trace, appended whole), `index.npy` (where each trace lies, by
the hash of its id) and `manifest.json`, which is written last and makes the folder readable. `codec` says how a trace
is coded, `support` which of its tokens are kept.
"""

from distill.signals.reader import Signal, Signals
from distill.signals.support import SignalSettings
from distill.signals.writer import SignalWriter

__all__ = ["Signal", "SignalSettings", "SignalWriter", "Signals"]
