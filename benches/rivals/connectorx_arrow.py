"""ConnectorX to an Arrow table, its binary protocol, one connection."""

import connectorx

from common import TABLE, URL, Clock

clock = Clock()
table = connectorx.read_sql(URL, f"SELECT * FROM {TABLE}", return_type="arrow", protocol="binary")
clock.stop(table.num_rows)
