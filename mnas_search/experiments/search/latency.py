"""Latency in a run: the table that predicts it, and the best networks measured at the end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, final

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
_LATENCY = ("seconds", "low", "high")


def table_of(
    config: RunConfig, folder: Path | None, listener: Listener
) -> Callable[[SearchSpace], LatencyTable]:
    """Return a function from the run's space to its table: the one of the named file, the one in
    the run's folder, or one built now."""

    def found(space: SearchSpace) -> LatencyTable:
        if config.latency_table is not None:
            table = read_table(Path(config.latency_table))
            if config.device not in (None, table.conditions.device):
                raise UsageError(
                    f"device must be {table.conditions.device!r}, the device of the table "
                    f"{config.latency_table!r}, got {config.device!r}"
                )
            return table
        if folder is not None and (folder / TABLE).is_file():
            return read_table(folder / TABLE)
        from mnas_search.evaluators.latency.building import build_table

        conditions = Conditions(device=config.device or "cpu")
        listener.on_stage(f"timing the parts of the space's networks, {conditions}")
        return build_table(space, (), conditions, note=listener.on_status)

    return found


@final
class Remeasured:
    """Latencies of whole networks, measured at the end of a search and kept in the journal."""

    def __init__(self, journal: Events) -> None:
        self._journal = journal
        try:
            self._done = {
                str(event["fingerprint"]): Latency(**{n: float(event[n]) for n in _LATENCY})
                for event in journal.events
                if event["event"] == "latency"
            }
        except (LookupError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"the journal's latencies do not fit together: {describe_exception(error)}; "
                "it was changed by something else than mnas-search"
            ) from error

    def of(self, network: Network) -> Latency | None:
        """Return the measured latency of a network; None without one."""
        return self._done.get(network.fingerprint)

    def measure(self, networks: Sequence[Network], table: LatencyTable) -> None:
        """Measure the networks that were not yet, if this is the table's machine, and scale the
        results to its speed when the table was built, as predictions are."""
        from mnas_search.evaluators.latency.measuring import measure_networks

        missing = [network for network in networks if self.of(network) is None]
        if not missing or not matches_this_machine(table):
            return
        session = measure_networks(missing, table.conditions)
        for network, latency in zip(missing, session.latencies(table.reference), strict=True):
            event: dict[str, Any] = {"event": "latency", "fingerprint": network.fingerprint}
            event |= {name: getattr(latency, name) for name in _LATENCY}
            event |= {"reference": session.reference, "phase": "latency"}
            self._journal.append(event)
            self._done[network.fingerprint] = latency
