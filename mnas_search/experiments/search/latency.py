"""Latency in a run: the table that it goes by, and winners measured again."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import final

from mnas_search.architecture.cost.latency.conditions import Conditions
from mnas_search.architecture.cost.latency.table import (
    Latency,
    LatencyTable,
    matches_this_machine,
    read_table,
)
from mnas_search.architecture.traced_network import Network
from mnas_search.common.errors import RunFolderError, UsageError, describe_exception
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.search.options import RunConfig
from mnas_search.nas.journal import Events
from mnas_search.nas.space.contract import SearchSpace

TABLE = "latency.json"  # in the run's folder


def table_of(
    config: RunConfig,
    folder: Path | None,
    listener: Listener,
) -> Callable[[SearchSpace], LatencyTable]:
    """Return what gives the table for the run's space: the one in its folder, that of the named
    file, or one built now."""

    def found(space: SearchSpace) -> LatencyTable:
        if config.latency_table is not None:
            return _checked(read_table(Path(config.latency_table)), config)
        if folder is not None and (folder / TABLE).is_file():
            return read_table(folder / TABLE)
        from mnas_search.evaluators.latency.building import build_table

        conditions = Conditions(device=config.device or "cpu")
        listener.on_stage(f"timing the parts of the space's networks, {conditions}")
        return build_table(space, (), conditions, note=listener.on_status)

    return found


def _checked(table: LatencyTable, config: RunConfig) -> LatencyTable:
    if config.device not in (None, table.conditions.device):
        raise UsageError(
            f"device must be {table.conditions.device!r}, the device of the table "
            f"{config.latency_table!r}, got {config.device!r}"
        )
    return table


@final
class Remeasured:
    """Whole networks measured on the device at the end of a search, each once.

    Args:
        journal: where measurements go; those that it holds are not repeated.
    """

    def __init__(self, journal: Events) -> None:
        self._journal = journal
        events = [event for event in journal.events if event["event"] == "latency"]
        try:
            self._done = {
                str(event["fingerprint"]): Latency(
                    **{name: float(event[name]) for name in ("seconds", "low", "high")}
                )
                for event in events
            }
        except (LookupError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"the journal's latencies do not fit together: {describe_exception(error)}; "
                "it was changed by something else than mnas-search"
            ) from error

    def of(self, network: Network) -> Latency | None:
        """What was measured; None where nothing was."""
        return self._done.get(network.fingerprint)

    def measure(self, networks: Sequence[Network], table: LatencyTable) -> None:
        """Measure what has not been, where this is the table's machine; at the speed that it had
        when the table was built, as predictions are."""
        from mnas_search.evaluators.latency.measuring import measure_networks

        missing = [network for network in networks if self.of(network) is None]
        if not missing or not matches_this_machine(table):
            return
        session = measure_networks(missing, table.conditions)
        for network, latency in zip(missing, session.latencies(table.reference), strict=True):
            event = {
                "event": "latency",
                "fingerprint": network.fingerprint,
                "seconds": latency.seconds,
                "low": latency.low,
                "high": latency.high,
                "reference": session.reference,
                "phase": "latency",
            }
            self._journal.append(event)
            self._done[network.fingerprint] = latency
